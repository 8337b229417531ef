"""The command's fixtures: a running service on simulated nodes."""

from rigs.daemon import daemon, daemon_factory, daemon_store  # noqa: F401
