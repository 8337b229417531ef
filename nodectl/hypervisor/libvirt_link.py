"""The connection to a site's libvirtd: kept, watched, made anew when it broke; and its errors, told as ours.

libvirt's Python module is the one part of this program that its standard library does not have. It is asked for where a
node is configured for it, and nowhere else.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, TransientError

ALIVE_SECONDS, ALIVE_TRIES = 5, 6  # a daemon that answers nothing for half a minute is given up
NO_MEMORY = "cannot allocate memory"
MISSING = (
    "libvirt's Python module is missing: install it for the Python that runs this program (Debian: apt-get install "
    "python3-libvirt; in an environment of one's own: pip install 'flyinglow[libvirt]')"
)
DISTRIBUTION = "/usr/lib/python3/dist-packages"  # root's own, where Debian puts the module
NO_DOMAIN, INVALID_FLAGS, NO_SUPPORT = 42, 8, 3  # of libvirt's error codes
_events = threading.Lock()
_begun = threading.Event()


def module() -> Any:
    """Return libvirt's module, quiet and with somebody who looks after its connections. Raises BrokenError."""
    try:
        libvirt: Any = _imported()  # no types are known of it
    except ImportError as error:
        raise BrokenError(MISSING) from error
    with _events:
        if not _begun.is_set():
            libvirt.registerErrorHandler(lambda *_: None, None)  # else it writes to our standard error
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_tend, args=(libvirt,), name="libvirt", daemon=True).start()
            _begun.set()
    return libvirt


def _imported() -> Any:
    """Return the module, also for a program that was started without any place but the standard library's."""
    try:
        return import_module("libvirt")
    except ImportError:
        if not sys.flags.no_site or DISTRIBUTION in sys.path:
            raise
        sys.path.append(DISTRIBUTION)
        return import_module("libvirt")


class Link:
    """A kept connection."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._kept: Any = None

    def connection(self) -> Any:
        """Return a living connection. Raises BrokenError, or TransientError when the daemon cannot be reached."""
        found = module()
        with self._lock:
            if self._kept is not None and not self._kept.isAlive():
                self._kept = None
            if self._kept is None:
                try:
                    self._kept = found.open(self._uri)
                except found.libvirtError as error:
                    raise TransientError(f"libvirt cannot be reached at {self._uri}: {error}") from error
                with contextlib.suppress(found.libvirtError):  # a daemon that is no daemon has none
                    self._kept.setKeepAlive(ALIVE_SECONDS, ALIVE_TRIES)
            return self._kept


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Raise what libvirt says of a call as an error of ours."""
    found = module()
    try:
        yield
    except found.libvirtError as error:
        raise _translated(found, error, what) from error


def code(error: BaseException) -> int:
    """Return the number of libvirt's error behind one of ours, or 0."""
    cause = error.__cause__
    return int(getattr(cause, "get_error_code", int)())


def _translated(found: Any, error: Any, what: str) -> FlyingLowError:
    words = f"{what}: libvirt says: {error}"
    if NO_MEMORY in str(error).lower() or error.get_error_code() == found.VIR_ERR_NO_MEMORY:
        return ExhaustedError(words)
    passing = (
        found.VIR_ERR_OPERATION_TIMEOUT,
        found.VIR_ERR_NO_CONNECT,
        found.VIR_ERR_RPC,
        found.VIR_ERR_AGENT_UNRESPONSIVE,
    )
    lost = error.get_error_domain() == found.VIR_FROM_RPC or error.get_error_code() in passing
    return TransientError(words) if lost else BrokenError(words)


def _tend(found: Any) -> None:
    while True:
        found.virEventRunDefaultImpl()
