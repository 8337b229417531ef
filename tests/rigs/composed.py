"""All of a daemon's services behind their real endpoints, without a process: any identity can call, and is audited."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lxml import etree
from lxml.etree import _Element
from twisted.internet.task import Clock

from flyinglow.access.identity import Identity
from flyinglow.server.audit import Audit
from flyinglow.server.composition import compose
from flyinglow.server.configuration.file import parse
from flyinglow.server.endpoints import endpoints
from flyinglow.store import Store
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.endpoint import Pending
from flyinglow.wsrf.envelope import MessageLimits
from flyinglow.wsrf.operation import Inbound
from rigs.contract import SAMPLES
from rigs.soap import XPATH

BASE = "http://site.example:8080"
S11 = "{http://schemas.xmlsoap.org/soap/envelope/}"
ID = re.compile(r"\b[0-9a-f]{32}\b")
SITE = """
[backend]
kind = "simulated"
[network.public]
cidr = "198.51.100.0/24"
range = "198.51.100.20-198.51.100.59"
[network.private]
cidr = "10.73.0.0/24"
range = "10.73.0.20-10.73.0.59"
[image.minimal]
path = "/srv/minimal.img"
size_mb = 10
[node.n1]
memory_mb = 64000
cpus = 64
disk_mb = 640000
networks = {public = "", private = ""}
"""


class WaitsError(Exception):
    """The operation waits for a node, or for a message."""


class Reactor(Clock):
    """A clock that runs at once what is called from another thread."""

    def callFromThread(self, call: Any, *args: Any) -> None:
        """Call it now."""
        call(*args)


class Composed:
    """The endpoints by name; ``lines`` are those of the audit log. ``extra`` goes after the configuration ``site``."""

    def __init__(
        self, root: Path, store: Store, extra: str = "", *, site: str = SITE, base: str = BASE, xpath: Any = XPATH
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        self.store = store
        self.reactor = Reactor()
        config = parse(f'[server]\nstate_dir = "{root}"\n{site}{extra}', "site.toml")
        addresses = Addresses(base)
        self.parts = compose(config, store, self.reactor, addresses)
        audit = Audit(lambda record: self.lines.append(dict(record)))
        made = endpoints(
            self.parts.services, addresses, lambda: datetime.now(UTC), MessageLimits(), xpath, audit=audit.call
        )
        self.endpoints = {endpoint.name: endpoint for endpoint in made}

    def close(self) -> None:
        """End the processes that evaluate XPath."""
        self.parts.notifying.filters.close()
        self.parts.notifying.checks.close()

    def send(self, service: str, envelope: str, caller: Identity) -> tuple[int, _Element]:
        """Send an envelope to the resource that it names, or that the URL in its To names."""
        to = re.search(r"<wsa:To>[^<]*?/(\w+)(?:/([^<]*))?</wsa:To>", envelope)
        resource = to[2] if to else None
        inbound = Inbound(body=envelope.encode(), soap="1.1", caller=caller, peer="192.0.2.1:4711", resource=resource)
        answer = self.endpoints[service].handle(inbound)
        if isinstance(answer, Pending):
            close = getattr(answer.awaitable, "close", None)
            if close is not None:
                close()
            raise WaitsError
        return answer.status, etree.fromstring(answer.body or b"<nothing/>")

    def ask(self, service: str, body: str, caller: Identity, resource: str = "") -> _Element:
        """Send a body; return what is in the answer's: the response, or a fault's detail element."""
        header = f'<fl:ResourceID xmlns:fl="urn:flyinglow:types:1">{resource}</fl:ResourceID>' if resource else ""
        text = f'<s:Envelope xmlns:s="{S11[1:-1]}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
        found = self.send(service, text, caller)[1].find(f"{S11}Body")
        assert found is not None
        detail = found.find(f"{S11}Fault/detail")
        return found[0] if detail is None else detail[0]


def operations() -> list[tuple[str, str]]:
    """Return (service, operation) of all that a client can call, by the WSDLs."""
    contract = Contract.packaged()
    services = sorted(path.name.split("-")[0] for path in SAMPLES.glob("*-request.xml"))
    known = {name for name in services if name not in {"fault", "consumer"}}
    return sorted((name, etree.QName(element).localname) for name in known for element, _ in contract.operations(name))


def sample(service: str, operation: str, ids: list[str]) -> str:
    """Return the sample request of an operation, with other ids for those in it, in their order."""
    text = (SAMPLES / f"{service}-{operation}-request.xml").read_text()
    found = list(dict.fromkeys(ID.findall(text)))
    for old, new in zip(found, ids, strict=False):
        text = text.replace(old, new)
    soon = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    return re.sub(r"(<rl:RequestedTerminationTime>)[^<]*", rf"\g<1>{soon}", text)
