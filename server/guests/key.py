"""The service's own key for guests' tokens: a file in the state directory, made by the first start that needs it."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import BrokenError
from flyinglow.workspace.context_endpoint import KEY_BYTES, Endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from flyinglow.server.configuration.settings import Config

GUEST_KEY = "guest.key"


def endpoint(config: Config) -> Endpoint | None:
    """Return what guests are told of the context endpoint, or None where the configuration names no address for it.

    Raises BrokenError when the key cannot be read or made, or everyone can read it.
    """
    url = config.listen.guest.base_url.rstrip("/")
    return Endpoint(url=url, key=_key(config.server.state_dir / GUEST_KEY)) if url else None


def _key(path: Path) -> bytes:
    try:
        if not path.exists():
            _make(path)
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        message = f"{path} cannot be read or made: {error.strerror}"
        raise BrokenError(message) from None
    if len(key) != KEY_BYTES:
        message = f"{path} is no key of {KEY_BYTES} bytes; remove it while no lease waits to be launched"
        raise BrokenError(message)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        message = f"everyone can read or write {path}; chmod 0600 it"
        raise BrokenError(message)
    return key


def _make(path: Path) -> None:
    """Write a new key; a start that was cut short leaves none behind that is half a key."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
