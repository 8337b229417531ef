"""Every endpoint of a real service, without sockets: as composed, over an embedded store and a simulated back-end.

A message goes the way that it goes in the daemon from where its bytes have arrived; time does not pass. ``complaint``
says what is wrong with an answer, whatever was asked.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections import defaultdict, deque
from functools import partial
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.internet.defer import Deferred

from flyinglow.access.identity import Identity
from flyinglow.server.composition import open_store
from flyinglow.server.configuration.file import parse
from flyinglow.wsrf.endpoint import Answer, Pending
from flyinglow.wsrf.operation import Inbound
from flyinglow.wsrf.xml import NS
from flyinglow.wsrf.xpath.evaluator import ProcessXPath, XPathLimits
from rigs.composed import Composed
from rigs.messages import SOAPS, Message

CALLER = Identity("fuzzer")
BASE = "http://site.example:8480"
_URL = re.compile(rb"/(subscription|pullpoint|entry)/([0-9a-zA-Z.-]+)")
_REFERENCE = re.compile(rb"/(\w+)</wsa:Address><wsa:ReferenceParameters><[^>]*>([0-9a-f]{32})<")
_INCIDENT = re.compile(r"[0-9a-f]{12}")
_STATUS = {"1.1": (500,), "1.2": (400, 500)}


class WholeEndpoints:
    """A service below ``folder``; ``ask`` returns the answer to a message, and None while it waits for the back-end."""

    def __init__(self, folder: Path) -> None:
        blank = folder / "blank.img"
        blank.write_bytes(b"\0" * 1024)
        self._store = open_store(parse(f'[server]\nstate_dir = "{folder}"\n', "generated"))
        self._xpath = ProcessXPath(XPathLimits(seconds=0.1))
        self._composed = Composed(folder, self._store, site=_SITE.format(blank=blank), base=BASE, xpath=self._xpath)
        self.parts, self.endpoints = self._composed.parts, self._composed.endpoints
        self.bugs: list[str] = []
        self._told: dict[str, deque[str]] = defaultdict(partial(deque, maxlen=8))
        self._handler = _Bugs(self.bugs)
        logging.getLogger("flyinglow.wsrf").addHandler(self._handler)

    def ask(self, message: Message) -> Answer | None:
        """Carry out one request."""
        inbound = Inbound(
            body=message.body,
            soap=message.soap,
            soap_action=message.soap_action,
            resource=message.resource,
            caller=CALLER,
            peer="192.0.2.7",
        )
        answer = self.endpoints[message.service].handle(inbound)
        if isinstance(answer, Pending):
            return self._wait(answer)
        for service, name in (*_URL.findall(answer.body), *_REFERENCE.findall(answer.body)):
            self._told[service.decode()].append(name.decode())
        return answer

    def _wait(self, pending: Pending) -> Answer | None:
        assert inspect.isawaitable(pending.awaitable)
        ends: list[Any] = []
        waiting: Any = pending.awaitable
        deferred = waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)
        deferred.addBoth(ends.append)
        for _ in range(50):
            if ends:
                break
            self._composed.reactor.advance(1)
        if not ends:
            return None
        return pending.finish(getattr(ends[0], "value", ends[0]))

    def known(self) -> dict[str, list[str]]:
        """Return the newest resources that clients were told of, by service."""
        return {service: list(names) for service, names in self._told.items()}

    def close(self) -> None:
        """End it."""
        logging.getLogger("flyinglow.wsrf").removeHandler(self._handler)
        self.parts.provisioner.stop()
        self._xpath.close()
        self._composed.close()
        self._store.close()


class _Bugs(logging.Handler):
    """Collects the faults that nobody raised on purpose."""

    def __init__(self, bugs: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._bugs = bugs

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what is told of it."""
        fields = {name: getattr(record, name, "") for name in ("kind", "endpoint", "operation", "error", "where")}
        if fields["kind"] == "bug":
            self._bugs.append(f"{fields}")


_SITE = """
[backend]
kind = "simulated"
[image.minimal]
path = "{blank}"
format = "raw"
[network.public]
cidr = "198.51.100.0/24"
range = "198.51.100.20-198.51.100.250"
[network.private]
cidr = "10.73.0.0/16"
range = "10.73.0.20-10.73.9.250"
[node.n1]
memory_mb = 4194304
cpus = 8192
disk_mb = 1000000000
networks = {{public = "", private = ""}}
[notification]
per_owner = 100000
per_host = 100000
allow_networks = ["10.0.0.0/8"]
"""


def complaint(message: Message, answer: Answer | None) -> str:
    """Return what is wrong with an answer; empty: nothing."""
    if answer is None:
        return ""
    if answer.status == 202:
        return "an answer of 202 with a body" if answer.body else ""
    if answer.status not in (200, *_STATUS[message.soap]):
        return f"the status is {answer.status}"
    envelope = etree.fromstring(answer.body)
    uri = SOAPS[message.soap]
    fault = envelope.find(f"{{{uri}}}Body/{{{uri}}}Fault")
    if envelope.tag != f"{{{uri}}}Envelope" and fault is None and envelope.tag != f"{{{NS['s11']}}}Envelope":
        return f"the answer is a {envelope.tag}"
    if answer.status == 500 and fault is not None and _is_receivers(fault, message.soap):
        incident = fault.find(f".//{{{NS['fl']}}}Incident")
        if incident is None or not _INCIDENT.fullmatch(incident.text or ""):
            return "a failure of the service without an incident"
    return ""


def _is_receivers(fault: Any, soap: str) -> bool:
    code = fault.findtext("faultcode") if soap == "1.1" else fault.findtext(f"{{{NS['s12']}}}Code/{{{NS['s12']}}}Value")
    return str(code).rpartition(":")[2] in ("Server", "Receiver")
