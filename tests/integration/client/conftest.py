"""The client library's fixtures: a running service on simulated nodes."""

from rigs.daemon import daemon, daemon_factory  # noqa: F401
