"""Fixtures for tests with real processes."""

from rigs.reactor import reactor_thread
from rigs.sshd import ssh_node

__all__ = ["reactor_thread", "ssh_node"]
