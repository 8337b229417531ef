"""Real consumers over HTTP on the loopback interface, the reactor to wait on them, and both kinds of database."""

from rigs.reactor import reactor_thread
from rigs.store import store_url

__all__ = ["reactor_thread", "store_url"]
