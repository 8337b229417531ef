"""The client's own notification consumer: an HTTP listener on a thread, a secret path for every subscription.

The service sends at least once and in order; here every event arrives once and in order. A message is answered at
once, so a slow callback holds up nobody; what this side has no room for is refused and sent again by the service.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flyinglow.client import notification, over_tls
from flyinglow.client.lease_watch import LeaseWatch
from flyinglow.client.listener import Listener
from flyinglow.client.watch import Watch
from flyinglow.nodectl.errors import ConflictError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from flyinglow.client.inbox import Inbox
    from flyinglow.client.listener import Take
    from flyinglow.client.notification import Notification
    from flyinglow.client.resource import Resource

log = logging.getLogger("flyinglow.client")

_LOOK: Final = 1.0  # seconds between two looks at what must be renewed
_WAITING: Final = 10_000


class Consumer:
    """Listens for notifications while it is open (a context manager).

    It listens on ``host`` and ``port`` (0: any free one) and tells services the address ``advertise``
    (``http://HOST:PORT``), which is needed when they reach it by another one. With ``certificate`` and ``private_key``
    (PEM) it speaks https; services must know the authority, and the certificate be for the host of the address.
    ``callers`` is a file of authorities (PEM) that a service's own certificate must come from; nobody else is let in.
    Raises TransientError when it cannot listen there, BrokenError for files that cannot be used.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        advertise: str | None = None,
        *,
        certificate: Path | None = None,
        private_key: Path | None = None,
        callers: Path | None = None,
    ) -> None:
        tls = None if certificate is None else over_tls.served(certificate, private_key, callers)
        try:
            self._listener = Listener(host, port, tls)
        except OSError as error:
            raise TransientError(f"cannot listen for notifications on {host} port {port}: {error}") from error
        name = f"[{host}]" if ":" in host else host
        scheme = "http" if tls is None else "https"
        self.url = _base(advertise, scheme) if advertise else f"{scheme}://{name}:{self._listener.port}"
        self._watches: dict[str, Inbox] = {}
        self._calls: queue.Queue[tuple[Inbox, Notification] | None] = queue.Queue()
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"flyinglow-{name}", daemon=True)
            for name, target in (("callbacks", self._call_back), ("renewal", self._renew))
        ]
        self._listener.start()
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def watch(
        self,
        resource: Resource,
        *,
        topics: Sequence[str] = (),
        lifetime: int = 3600,
        callback: Callable[[Notification], object] | None = None,
    ) -> Watch:
        """Subscribe to a resource's events: to all ``topics`` when none is named.

        The subscription lives ``lifetime`` seconds and is renewed at half of that for as long as the watch is open.
        Raises what the service raises: InvalidError when it will not send to this consumer's address.
        """
        watch = Watch(
            resource, self._address(), topics=topics, lifetime=lifetime, callback=callback, closing=self._forget
        )
        self._listen(watch)
        try:
            watch.subscribe()
        except BaseException:
            self._forget(watch)
            raise
        return watch

    def expect(
        self,
        *,
        topics: Sequence[str] = (),
        lifetime: int = 3600,
        callback: Callable[[Notification], object] | None = None,
    ) -> LeaseWatch:
        """Listen for a lease that is about to be made: hand the result to ``Site.create``.

        The request itself subscribes it to everything that is made, so no event is missed.
        """
        watch = LeaseWatch(self._address(), topics=topics, lifetime=lifetime, callback=callback, closing=self._forget)
        self._listen(watch)
        return watch

    def _address(self) -> str:
        if self._closed.is_set():
            raise ConflictError("this consumer is closed")
        return f"{self.url}/{secrets.token_urlsafe(24)}"

    def _listen(self, watch: Inbox) -> None:
        # Listening begins before the subscription does: the first event may be faster than its answer.
        path = urlsplit(watch.address).path
        self._watches[path] = watch
        self._listener.takers[path] = self._taker(watch)

    def close(self) -> None:
        """Unsubscribe everything, let what has come in be told, and stop listening. May be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        for watch in tuple(self._watches.values()):
            watch.close()
        self._calls.put(None)
        self._listener.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _taker(self, watch: Inbox) -> Take:
        def take(body: bytes) -> HTTPStatus:
            if self._calls.qsize() >= _WAITING:
                return HTTPStatus.SERVICE_UNAVAILABLE
            new = watch.take(notification.read(body, datetime.now(UTC)))
            if isinstance(new, HTTPStatus):
                return new
            for each in new:
                if each.kind == "subscription":  # it is over; what is watched is not
                    watch.renew_at = time.monotonic()
                else:
                    self._hand_over(watch, each)
            return HTTPStatus.ACCEPTED

        return take

    def _hand_over(self, watch: Inbox, news: Notification) -> None:
        if watch.callback is not None:
            self._calls.put((watch, news))
        else:
            watch.queue.put(news)
        if watch.is_last(news):
            watch.end()

    def _call_back(self) -> None:
        while (call := self._calls.get()) is not None:
            watch, news = call
            try:
                if watch.callback is not None:
                    watch.callback(news)
            except Exception:
                log.exception("the callback failed on %s #%s of %s", news.topic, news.sequence, news.name)

    def _renew(self) -> None:
        while not self._closed.wait(_LOOK):
            for watch in tuple(self._watches.values()):
                if watch.renew_at <= time.monotonic():
                    watch.renew()

    def _forget(self, watch: Inbox) -> None:
        path = urlsplit(watch.address).path
        self._listener.takers.pop(path, None)
        self._watches.pop(path, None)


def _base(advertise: str, scheme: str) -> str:
    return (advertise if "://" in advertise else f"{scheme}://{advertise}").rstrip("/")
