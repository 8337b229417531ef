"""Waits for a resource and shows the way: by notifications where the service can reach us, else by asking."""

from __future__ import annotations

import queue
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flyinglow.cli import showing
from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from flyinglow.cli.session import Session
    from flyinglow.client import Consumer, Properties, Resource, Watch

_LOOK_ANYWAY: Final = 2.0  # seconds; a notification may be kept from us by a firewall


def wait(session: Session, resource: Resource, states: Sequence[str], timeout: float | None) -> Properties:
    """Wait as ``Resource.wait`` does, and say each change. Subscribes when the service will send to us."""
    began = time.monotonic()

    def changed(found: Properties) -> None:
        session.say(f"{time.monotonic() - began:7.1f} s  {found.name} {showing.state(found)}{_census(found)}")

    with _interrupts() as check, news(resource) as pause:

        def rest(seconds: float) -> None:
            check()
            pause(seconds)

        return resource.wait(*states, timeout=timeout, on_change=changed, pause=rest)


@contextmanager
def _interrupts() -> Iterator[Callable[[], None]]:
    """Give a function that raises KeyboardInterrupt once more for a Ctrl-C that was swallowed.

    Raised while a library in C calls Python back, or while something is disposed of, it comes to nobody.
    """
    came: list[int] = []

    def interrupted(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        signal.default_int_handler(signum, frame)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def news(resource: Resource) -> Iterator[Callable[[float], object]]:
    """Give a function that waits for the given seconds, or longer but no longer than until something happened."""
    with ExitStack() as stack:
        watch = _subscribe(resource, stack)
        yield time.sleep if watch is None else lambda seconds: _until_news(watch, max(seconds, _LOOK_ANYWAY))


def listen(resource: Resource) -> Consumer:
    """Return a consumer on the address from which this machine speaks to the resource's service."""
    from flyinglow.client import Consumer

    return Consumer(host=own_address(resource.url))


def own_address(url: str) -> str:
    """Return the address that packets to ``url`` would leave from; nothing is sent."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        own: str = probe.getsockname()[0]
        return own


def _subscribe(resource: Resource, stack: ExitStack) -> Watch | None:
    try:
        return stack.enter_context(listen(resource)).watch(resource, topics=("state",))
    except (FlyingLowError, OSError):
        return None  # the service will not send here, so it is asked instead


def _until_news(watch: Watch, seconds: float) -> None:
    try:
        if watch.queue.get(timeout=seconds) is None:
            time.sleep(min(seconds, _LOOK_ANYWAY))
    except queue.Empty:
        return


def _census(found: Properties) -> str:
    if not found.census or not found.total:
        return ""
    return f"  [{', '.join(f'{name} {count}' for name, count in found.census.items())} of {found.total}]"
