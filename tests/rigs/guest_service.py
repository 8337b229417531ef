"""A guest listener with the real desk over a real store behind it, and guests that are known there."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.python.threadpool import ThreadPool

from flyinglow.backend.testing import ReactorThread
from flyinglow.server import listeners
from flyinglow.server.configuration.settings import GuestListener
from flyinglow.server.guests.door import guest_site
from flyinglow.store import Store
from flyinglow.workspace.context_desk import Desk
from flyinglow.workspace.context_endpoint import Endpoint, hash_of
from flyinglow.workspace.model import Context
from flyinglow.workspace.states import State
from rigs.store import noon, workspace

ENDPOINT = Endpoint(url="http://10.1.0.1:8482", key=b"k" * 32)


class GuestService:
    """What serves two guests that run: the second one requires what the first one provides."""

    def __init__(self, reactor_thread: ReactorThread, store: Store, listener: GuestListener) -> None:
        self._reactor_thread, self.store = reactor_thread, store
        rows = [
            replace(workspace(at), state=State.RUNNING, task=None, launch_set="set", stamps={"launched": noon()})
            for at in (1, 2)
        ]
        rows[0] = replace(rows[0], context=Context(provides=("server",)))
        rows[1] = replace(rows[1], context=Context(requires=("server",)))
        self.tokens = [ENDPOINT.token(row.id) for row in rows]
        self.ids = [row.id for row in rows]
        store.call(
            lambda tx: (
                tx.workspaces.add(rows),
                tx.guests.invite({row.id: hash_of(ENDPOINT.token(row.id)) for row in rows}),
            )
        )
        bound = listeners.bind(listener)
        self.address: tuple[str, int] = bound.socket.getsockname()[:2]
        self.url = bound.url
        self.desk = Desk(store, reactor_thread.reactor, noon)
        self._site: Any = None
        self._port: Any = None
        reactor_thread.call(self._start, bound)

    def _start(self, bound: listeners.Bound) -> None:
        reactor = self._reactor_thread.reactor
        self._site = guest_site(self.desk, bound.listener, reactor)
        self._port = bound.serve(reactor, self._site)

    def stop(self) -> None:
        """Stop as a daemon does."""
        self._reactor_thread.call(self.desk.close)
        self._reactor_thread.call(self._port.stopListening)
        self._reactor_thread.call(self._hang_up)

    def _hang_up(self) -> None:
        for channel in list(self._site._channels):
            channel.transport.loseConnection()

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: bytes | None = None,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Send one request; return status, body and headers of the answer."""
        kind: Any = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind(*self.address, timeout=60, **({"context": tls} if tls else {}))
        try:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def report(self, token: str | None, **report: Any) -> int:
        """Report as a guest does; return the status of the answer."""
        return self.ask("POST", "/report", token, json.dumps({"status": "ok", **report}).encode())[0]


ServeGuests = Callable[..., GuestService]


@pytest.fixture
def serve_guests(reactor_thread: ReactorThread, tmp_path: Path) -> Iterator[ServeGuests]:
    """Give a function that starts a service, with such settings of its listener."""
    with ExitStack() as stack:
        reactor = reactor_thread.reactor

        def start(**listener: Any) -> GuestService:
            pool = ThreadPool(1, 4, "store")
            pool.start()
            stack.callback(pool.stop)
            store = Store(f"sqlite:///{tmp_path}/store.db", now=noon, reactor=reactor, pool=pool, durable=False)
            stack.callback(store.close)
            store.migrate()
            service = GuestService(reactor_thread, store, GuestListener(**{"port": 0, **listener}))
            stack.callback(service.stop)
            return service

        yield start
