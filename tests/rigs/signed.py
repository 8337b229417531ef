"""Signed messages, and an endpoint that knows callers by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from lxml import etree
from lxml.etree import _Element

from flyinglow.access.identity import UNKNOWN, Identity
from flyinglow.client.signing import Signing
from flyinglow.server.callers import authorities
from flyinglow.server.callers.signers import Signers
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.endpoint import Answer
from flyinglow.wsrf.security.replay import Replays
from flyinglow.wsrf.security.signatures import Signatures
from flyinglow.wsrf.xml import NS
from rigs.authority import Authority, Credential
from rigs.soap import Shelf, endpoint, message

TO = "http://site.example/workspace"
RL = "http://docs.oasis-open.org/wsrf/rlw-2/ImmediateResourceTermination/DestroyRequest"


@dataclass
class Signer:
    """Makes signed messages for one person."""

    credential: Credential

    @cached_property
    def signing(self) -> Signing:
        """What signs."""
        return Signing(self.credential.pem, self.credential.key_pem)

    def destroy(
        self,
        resource: str = "w1",
        *,
        to: str = TO,
        message_id: str | None = None,
        more: str = "",
        before: Callable[[_Element], None] = lambda _: None,
    ) -> _Element:
        """Return a signed Destroy; ``before`` may change it before it is signed."""
        headers = (
            f"<wsa:To>{to}</wsa:To><wsa:Action>{RL}</wsa:Action>"
            f"<wsa:MessageID>{message_id or uuid4().urn}</wsa:MessageID>"
            f"<fl:ResourceID>{resource}</fl:ResourceID>{more}"
        )
        envelope = etree.fromstring(message("<rl:Destroy/>", headers))
        before(envelope)
        self.signing.apply(envelope, {})
        return etree.fromstring(etree.tostring(envelope))  # lxml does not find by name what xmlsec has made


@dataclass
class Notary:
    """The workspace endpoint over a shelf, which tells callers by their signatures; ``late`` moves its clock."""

    root: Authority
    directory: Path
    alone: bool = True
    late: timedelta = timedelta()
    shelf: Shelf = field(default_factory=Shelf)
    calls: list[Any] = field(default_factory=list)
    replay: dict[str, Any] = field(default_factory=dict)
    count: Callable[[Identity], float] = lambda _: 0.0

    def __post_init__(self) -> None:
        found = authorities.read(self.root.install(self.directory / "certificates"))
        mapping = SimpleNamespace(groups=lambda *_: frozenset({"physics"}))
        kept: Any = SimpleNamespace(current=SimpleNamespace(authorities=found, mapping=mapping))
        self.late -= timedelta(hours=1)
        self.replays = Replays(self.now, **self.replay)
        self.late += timedelta(hours=1)
        signatures = Signatures(
            Signers(kept, lambda who: who),
            self.replays,
            Addresses("http://site.example"),
            alone=self.alone,
            count=self.count,
        )
        self.endpoint = endpoint(self.shelf, now=self.now, signatures=signatures, audit=self.calls.append)

    def now(self) -> datetime:
        """Return the time, as far as it is moved."""
        return datetime.now(UTC) + self.late

    def ask(self, envelope: _Element | bytes, caller: Identity = UNKNOWN, **inbound: Any) -> tuple[str, str]:
        """Send a message; return what it was answered with (a fault's detail) and the fault's text."""
        data = envelope if isinstance(envelope, bytes) else etree.tostring(envelope)
        answer: Answer = self.endpoint.call(data, caller=caller, **inbound)
        body = etree.fromstring(answer.body).find(f"{{{NS['s11']}}}Body")
        assert body is not None
        fault = body.find(f"{{{NS['s11']}}}Fault")
        if fault is None:
            return etree.QName(body[0]).localname, ""
        detail = fault.find("detail")
        name = etree.QName(detail[0]).localname if detail is not None else fault.findtext("faultcode")
        return str(name), fault.findtext("faultstring") or ""

    @property
    def caller(self) -> Identity:
        """Who the last call was carried out for."""
        found: Identity = self.calls[-1].caller
        return found
