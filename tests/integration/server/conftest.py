"""Whole services for the tests of the daemon."""

from rigs.daemon import daemon, daemon_factory

__all__ = ["daemon", "daemon_factory"]
