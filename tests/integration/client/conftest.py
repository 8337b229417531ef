"""The client library's fixtures: a running service on simulated nodes, on each database in turn."""

from rigs.daemon import daemon, daemon_factory  # noqa: F401
from rigs.daemon import each_store as daemon_store  # noqa: F401
