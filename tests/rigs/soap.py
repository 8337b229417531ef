"""SOAP messages by hand, a directory of one workspace in memory, and an endpoint that checks all it sees."""

from __future__ import annotations

import atexit
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from lxml import etree

from flyinglow.nodectl.errors import DeniedError, InvalidError, UnknownError
from flyinglow.wsrf import lifetime, properties
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.endpoint import Answer, Endpoint
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.transport import client_site, worker_pool
from flyinglow.wsrf.xml import NS, E, qname
from flyinglow.wsrf.xpath.evaluator import ProcessXPath
from rigs.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lxml.etree import _Element

    from flyinglow.backend.testing import ReactorThread
    from flyinglow.wsrf.channel import HttpLimits

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
RPW = "http://docs.oasis-open.org/wsrf/rpw-2/"
GET = f"{RPW}GetResourceProperty/GetResourceProperty"
XPATH = ProcessXPath()
atexit.register(XPATH.close)
ENVELOPES = {"1.1": NS["s11"], "1.2": NS["s12"]}


def message(body: str, headers: str = "", soap: str = "1.1") -> bytes:
    """Return an envelope; every prefix of NS is declared on it."""
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NS.items())
    header = f"<s:Header>{headers}</s:Header>" if headers else ""
    return f'<s:Envelope xmlns:s="{ENVELOPES[soap]}" {declared}>{header}<s:Body>{body}</s:Body></s:Envelope>'.encode()


def state_of(resource: str = "w1", *, more: str = "", soap: str = "1.1", name: str = "fl:State") -> bytes:
    """Return the message that asks for a property of a resource."""
    header = f"<fl:ResourceID>{resource}</fl:ResourceID>" if resource else ""
    return message(f"<rp:GetResourceProperty>{name}</rp:GetResourceProperty>", header + more, soap)


class Shelf:
    """A ResourceDirectory with one workspace, ``w1``."""

    def __init__(self) -> None:
        self.destroyed: list[str] = []
        self.ends_at = NOW + timedelta(hours=1)
        self.broken: Exception | None = None

    def property_names(self) -> tuple[str, ...]:
        """State is there, Reason may be empty."""
        return qname("fl", "State"), qname("fl", "Reason")

    def properties(self, caller: object, resource: str, names: Sequence[str] | None) -> dict[str, list[_Element]]:
        """Return what there is."""
        self._find(resource)
        found = {qname("fl", "State"): [E["fl"].State("Running")]}
        return {name: value for name, value in found.items() if names is None or name in names}

    def destroy(self, caller: object, resource: str) -> None:
        """Note it."""
        self._find(resource)
        self.destroyed.append(resource)

    def set_termination_time(self, caller: object, resource: str, at: datetime) -> datetime:
        """Grant a day at most."""
        self._find(resource)
        if at > NOW + timedelta(days=30):
            raise InvalidError("no calendar goes that far")
        if at > NOW + timedelta(days=1):
            raise DeniedError("a day is the most")
        self.ends_at = at
        return at

    def _find(self, resource: str) -> None:
        if self.broken is not None:
            raise self.broken
        if resource != "w1" or resource in self.destroyed:
            raise UnknownError("there is no such resource")


@dataclass
class Seen:
    """Every message an endpoint saw, each checked against the schemas."""

    contract: Contract
    messages: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, direction: str, element: _Element) -> None:
        """Check one."""
        self.contract.validate(etree.fromstring(etree.tostring(element)))
        self.messages.append((direction, str(element.tag)))


def start_port(act: Callable[[Any], Any]) -> type[ServiceBase]:
    """Return a service whose Start answers with what ``act`` returns for its call (or raises)."""

    class Start(ServiceBase):  # type: ignore[misc] # Spyne is untyped
        @operation(qname("flw", "Start"), action="urn:flyinglow:workspace:1/Workspace/Start")
        def start(ctx: Any, body: _Element) -> Any:
            return act(call_of(ctx))

    return Start


def endpoint(
    shelf: Shelf,
    *more: type[ServiceBase],
    on_message: Callable[[str, _Element], None] | None = None,
    now: Callable[[], datetime] = lambda: NOW,
    **options: Any,
) -> Endpoint:
    """Return the workspace endpoint over a shelf."""
    ports = [properties.port(shelf, qname("fl", "WorkspaceProperties"), XPATH), lifetime.port(shelf), *more]
    addresses = Addresses("http://site.example")
    return Endpoint("workspace", ports, "workspace", now=now, on_message=on_message, addresses=addresses, **options)


class RealService:
    """The workspace endpoint over a shelf on a free port of loopback, until ``stop``."""

    def __init__(
        self,
        loop: ReactorThread,
        shelf: Shelf,
        limits: HttpLimits,
        now: Callable[[], datetime],
        *more: type[ServiceBase],
    ) -> None:
        self.port = free_port()
        self.addresses = Addresses(f"http://127.0.0.1:{self.port}")
        self.shelf = shelf
        self._loop = loop
        self._pool = worker_pool()
        self._pool.start()
        site = client_site(
            [endpoint(shelf, *more, now=now)],
            reactor=loop.reactor,
            pool=self._pool,
            addresses=self.addresses,
            limits=limits,
        )
        self._port = loop.call(partial(loop.reactor.listenTCP, self.port, site, interface="127.0.0.1"))

    def stop(self) -> None:
        """Close the port and end the threads."""
        self._loop.call(self._port.stopListening)
        self._pool.stop()


@dataclass(frozen=True)
class Fault:
    """A fault as a client sees it; ``codes`` from the outer to the special one, as Clark names."""

    status: int
    codes: tuple[str, ...]
    text: str
    detail: _Element | None
    headers: dict[str, _Element]

    @property
    def kind(self) -> str | None:
        """The detail element's name."""
        return None if self.detail is None else str(self.detail.tag)


def fault_of(answer: Answer, soap: str = "1.1") -> Fault:
    """Read an answer that must be a fault."""
    ns = ENVELOPES[soap]
    root = etree.fromstring(answer.body)
    found = root.find(f"{{{ns}}}Body/{{{ns}}}Fault")
    assert found is not None, answer.body
    header = root.find(f"{{{ns}}}Header")
    headers = {str(child.tag): child for child in header} if header is not None else {}
    if soap == "1.1":
        codes, text = [found.find("faultcode")], found.findtext("faultstring")
        detail = found.find("detail")
    else:
        codes = list(found.iter(f"{{{ns}}}Value"))
        text, detail = found.findtext(f"{{{ns}}}Reason/{{{ns}}}Text"), found.find(f"{{{ns}}}Detail")
    inside = None if detail is None or not len(detail) else detail[0]
    return Fault(answer.status, tuple(_names(codes)), text or "", inside, headers)


def body_of(answer: Answer, soap: str = "1.1") -> _Element:
    """Return the one child of an answer's Body."""
    assert answer.status == 200, answer.body
    body = etree.fromstring(answer.body).find(f"{{{ENVELOPES[soap]}}}Body")
    assert body is not None
    return body[0]


def _names(elements: Iterable[Any]) -> Iterable[str]:
    for element in elements:
        prefix, _, local = element.text.rpartition(":")
        yield f"{{{element.nsmap[prefix or None]}}}{local}"
