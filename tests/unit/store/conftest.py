"""The fixtures of the store's tests."""

from rigs.store import any_store, open_store, sqlite_store, store_url

__all__ = ["any_store", "open_store", "sqlite_store", "store_url"]
