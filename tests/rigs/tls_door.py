"""The client listener over TLS on a real socket: the workspace endpoint behind the service's own identification.

Its one workspace ``w1`` notes who asked for it in ``callers``. ``Door.ask`` is one request on a connection of its own.
"""

from __future__ import annotations

import http.client
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from lxml.etree import _Element

from flyinglow.access.identity import Identity
from flyinglow.backend.testing import ReactorThread
from flyinglow.server.callers import certificates, identification
from flyinglow.server.callers import handshake as tls_callers
from flyinglow.server.configuration.settings import ClientListener, Config, Listen
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.channel import HttpLimits
from flyinglow.wsrf.transport import client_site, worker_pool
from rigs.authority import Authority, Credential
from rigs.ports import free_port
from rigs.soap import Shelf, endpoint, state_of

SECONDS = 120.0


class Noting(Shelf):
    """A shelf that notes who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[Identity] = []

    def properties(self, caller: object, resource: str, names: Sequence[str] | None) -> dict[str, list[_Element]]:
        """Note it, and answer."""
        assert isinstance(caller, Identity)
        self.callers.append(caller)
        return super().properties(caller, resource, names)


class Door:
    """The listener, and what it logs; until ``stop``."""

    def __init__(self, loop: ReactorThread, directory: Path, root: Authority, **keys: Any) -> None:
        self.port, self.shelf, self.records = free_port(), Noting(), []  # type: ignore[var-annotated]
        self.root, self.directory = root, directory
        certificate, key = root.host().write(directory, "host")
        keys.setdefault("ca_directory", directory / "certificates")
        self.listener = ClientListener(certificate=certificate, private_key=key, **keys)
        self.secured = tls_callers.secured(self.listener)
        self._loop, self._pool = loop, worker_pool()
        self._pool.start()
        self._handler = _Kept(self.records)
        logging.getLogger("flyinglow").addHandler(self._handler)
        site = client_site(
            [endpoint(self.shelf, now=lambda: datetime.now(UTC))],
            reactor=loop.reactor,
            pool=self._pool,
            addresses=Addresses(f"https://127.0.0.1:{self.port}"),
            limits=HttpLimits(),
            authenticate=self._authenticate(),
        )
        served = self.secured.wrap(site, loop.reactor)
        self._port = loop.call(partial(loop.reactor.listenTCP, self.port, served, interface="127.0.0.1"))

    def _authenticate(self) -> Callable[[Any], Identity]:
        made = identification.authenticate(Config(listen=Listen(client=self.listener)), self.secured)
        assert isinstance(made, identification.Ways)
        self._ahead = timedelta(0)
        by_certificate = certificates.ByCertificate(self.secured.kept, lambda: datetime.now(UTC) + self._ahead)
        return identification.Ways([by_certificate])

    def later(self, time: timedelta) -> None:
        """Have the door think that time has passed."""
        self._ahead += time

    def connect(self, credential: Credential | None) -> http.client.HTTPSConnection:
        """Open a connection, with a certificate or without one."""
        context = ssl.create_default_context(cadata=self.root.certificate_pem)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # the judge is at the other end
        if credential is not None:
            context.load_cert_chain(credential.write_proxy(self.directory / "caller.pem"))
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=SECONDS)

    def ask(self, credential: Credential | None) -> str:
        """Make one request on a connection of its own, and return what came of it as ``send`` does."""
        with closing(self.connect(credential)) as connection:
            return self.send(connection)

    def send(self, connection: http.client.HTTPSConnection) -> str:
        """Return the caller's name that a request was carried out for, or why it was not."""
        try:
            connection.request("POST", "/workspace", state_of(), {"Content-Type": "text/xml"})
            answer = connection.getresponse()
            text = answer.read().decode()
        except (ssl.SSLError, ConnectionError) as error:
            return f"alert: {error}"
        return self.shelf.callers[-1].name if answer.status == HTTPStatus.OK else f"{answer.status}: {text}"

    @property
    def refusals(self) -> list[str]:
        """The reasons that were logged."""
        return [str(getattr(each, "reason", "")) for each in self.records if hasattr(each, "reason")]

    def stop(self) -> None:
        """Close the port and end the threads."""
        logging.getLogger("flyinglow").removeHandler(self._handler)
        self._loop.call(self._port.stopListening)
        self._pool.stop()


class _Kept(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.INFO)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


Opener = Callable[..., Door]


@pytest.fixture
def root() -> Authority:
    """The authority that the service trusts."""
    return Authority.make()


@pytest.fixture
def opened(reactor_thread: ReactorThread, root: Authority, tmp_path: Path) -> Iterator[Opener]:
    """Give a function that opens a door; what lies in ``tmp_path/certificates`` by then is what it trusts."""
    made: list[Door] = []

    def make(**keys: Any) -> Door:
        if not (tmp_path / "certificates").exists():
            root.install(tmp_path / "certificates")
        made.append(Door(reactor_thread, tmp_path, root, **keys))
        return made[-1]

    yield make
    for door in made:
        door.stop()
