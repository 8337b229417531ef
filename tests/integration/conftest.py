"""Every whole service in an integration test runs on each kind of database in turn."""

from rigs.daemon import each_store as daemon_store

__all__ = ["daemon_store"]
