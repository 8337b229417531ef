"""Notification from event to pull point over any store, behind the real endpoints, with a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from lxml import etree
from lxml.etree import _Element
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.access.roles import Named
from flyinglow.notification import broker_xml, properties_xml
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.delivery import Courier
from flyinglow.notification.drainer import Drainer
from flyinglow.notification.envelope import Envelopes
from flyinglow.notification.ledger import Ledger
from flyinglow.notification.pulling import soap as pull_soap
from flyinglow.notification.pulling.bell import Bell
from flyinglow.notification.pulling.service import PullService, PullSettings
from flyinglow.notification.service import SubscriptionService, SubscriptionSettings
from flyinglow.notification.soap import broker_port, manager_port, producer_port
from flyinglow.server.producers import Producers
from flyinglow.store import Store
from flyinglow.workspace.model import LEASED, Event, Kind, ResourceKey, Topic
from flyinglow.workspace.terms import Terms
from flyinglow.wsrf import lifetime, properties
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.endpoint import Answer, Endpoint, Pending
from flyinglow.wsrf.operation import Inbound
from flyinglow.wsrf.xml import NS
from rigs.notification import FakeSender, done
from rigs.soap import XPATH
from rigs.store import NOON, workspace

DECLARED = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NS.items())
ADDRESSES = Addresses("http://site.example:8080")
KEY = ResourceKey(Kind.WORKSPACE, f"{1:032x}")


class PullSite:
    """A store with workspaces of two owners, and all of notification over it; a second one over it is a restart."""

    def __init__(self, store: Store, settings: PullSettings | None = None, first_id: int = 1) -> None:
        clock: Any = Clock()
        self.clock = clock
        self.store = store
        ids = count(first_id)
        self.sender = FakeSender()
        self.envelopes = Envelopes(ADDRESSES)
        self.bell = Bell(clock)
        self.pulls = PullService(
            store=store,
            now=self.now,
            new_id=lambda: f"{next(ids):032x}",
            kept=self.envelopes.kept,
            base=ADDRESSES.service("pullpoint"),
            arrived=self.bell.ring,
            settings=settings,
            publishers=Named(identities=frozenset({"service"})),
        )
        self.courier = Courier(
            store=store,
            ledger=Ledger(store=store, clock=clock, now=self.now, put=self.pulls.put, arrived=self.bell.ring),
            sender=self.sender,
            compose=self.envelopes.compose,
            clock=clock,
            now=self.now,
            random=lambda: 0.5,
        )
        self.service = SubscriptionService(
            store=store,
            consumers=Consumers(ConsumerPolicy(allow_loopback=True)),
            now=self.now,
            new_id=lambda: f"{next(ids):032x}",
            contents=Contents(XPATH),
            woken=self.courier.wake,
            settings=SubscriptionSettings(per_consumer=3),
            places=self.pulls,
        )
        producers = Producers(addresses=ADDRESSES, now=self.now, terms=Terms(), backend=None)
        self.drainer = Drainer(
            store=store,
            folds=[],
            clock=clock,
            now=self.now,
            queued=self.courier.wake,
            contents=Contents(XPATH),
            properties=producers.document,
        )
        self.endpoints = {endpoint.name: endpoint for endpoint in self._endpoints()}
        done(Deferred.fromCoroutine(self.courier.start()))
        self.drainer.start()
        store.listen(self.drainer.notice)

    def now(self) -> datetime:
        """The rig's time."""
        return NOON + timedelta(seconds=self.clock.seconds())

    def stop(self) -> None:
        """End what runs."""
        done(self.drainer.stop())
        done(Deferred.fromCoroutine(self.courier.stop()))

    def fill(self) -> PullSite:
        """Insert two workspaces of the local caller and one of bob."""
        rows = [workspace(1), workspace(2), workspace(3, owner="bob")]
        self.store.call(lambda tx: tx.workspaces.add(rows))
        return self

    def happen(self, sequence: int, number: int = 1, owner: str = "local", topic: Topic = Topic.STATE) -> None:
        """Commit an event of a workspace."""
        key = ResourceKey(Kind.WORKSPACE, f"{number:032x}")
        body = {"name": f"w{number}", "state": "Running"}
        event = Event(key=key, sequence=sequence, topic=topic, owner=owner, at=self.now(), body=body)
        self.store.call(partial(_add, event))

    def ask(
        self, at: str, body: str, resource: str | None = None, *, caller: Identity = LOCAL, action: str = ""
    ) -> list[_Element | Answer]:
        """Send a body; the list gets the answer's body child (of a fault, its detail) when it is there."""
        header = f"<wsa:Action>{action}</wsa:Action>" if action else ""
        message = (
            f"<s11:Envelope {DECLARED}><s11:Header>{header}</s11:Header><s11:Body>{body}</s11:Body></s11:Envelope>"
        )
        inbound = Inbound(body=message.encode(), soap="1.1", caller=caller, peer="test", resource=resource)
        found: list[_Element | Answer] = []
        answer = self.endpoints[at].handle(inbound)
        if isinstance(answer, Pending):
            awaited: Any = answer.awaitable
            waiting = Deferred.fromCoroutine(awaited)
            waiting.addErrback(lambda failure: failure.value)
            finish: Callable[[Any], Answer] = answer.finish
            waiting.addCallback(lambda result: found.append(_content(finish(result))))
        else:
            found.append(_content(answer))
        return found

    def call(self, at: str, body: str, resource: str | None = None, **how: Any) -> Any:
        """Send a body and return what must be there at once."""
        (found,) = self.ask(at, body, resource, **how)
        return found

    def pull_point(self, caller: Identity = LOCAL) -> str:
        """Make a pull point and return its id."""
        made = self.call("pullpoints", "<wsnt:CreatePullPoint/>", caller=caller)
        address: str = made.findtext("wsnt:PullPoint/wsa:Address", namespaces=dict(NS))
        assert address.startswith("http://site.example:8080/pullpoint/")
        return address.rpartition("/")[2]

    def subscribe(self, pull_point: str, inside: str = "", at: str = "workspace", **how: Any) -> Any:
        """Subscribe a pull point to the first workspace, or to what an endpoint offers."""
        address = f"<wsa:Address>{ADDRESSES.resource('pullpoint', pull_point)}</wsa:Address>"
        body = f"<wsnt:Subscribe><wsnt:ConsumerReference>{address}</wsnt:ConsumerReference>{inside}</wsnt:Subscribe>"
        return self.call(at, body, KEY.id if at == "workspace" else None, **how)

    def get(self, pull_point: str, inside: str = "", **how: Any) -> Any:
        """Return what GetMessages answers at once."""
        return self.call("pullpoint", f"<wsnt:GetMessages>{inside}</wsnt:GetMessages>", pull_point, **how)

    def _endpoints(self) -> list[Endpoint]:
        pull_points = pull_soap.PullPointDirectory(self.pulls, self.now)
        subscriptions = properties_xml.SubscriptionDirectory(self.service, self.now)
        return [
            *(self._endpoint(kind, producer_port(self.service, kind, ADDRESSES)) for kind in LEASED),
            self._endpoint(
                "subscription",
                manager_port(self.service),
                properties.port(subscriptions, properties_xml.DOCUMENT, XPATH),
                lifetime.port(subscriptions),
            ),
            self._endpoint("pullpoints", pull_soap.factory_port(self.pulls, ADDRESSES), resources=False),
            self._endpoint(
                "pullpoint",
                pull_soap.port(self.pulls, self.bell),
                properties.port(pull_points, pull_soap.DOCUMENT, XPATH),
                lifetime.port(pull_points),
            ),
            self._endpoint(
                "broker",
                producer_port(self.service, Kind.BROKER, ADDRESSES),
                broker_port(),
                properties.port(broker_xml.BrokerDirectory(), broker_xml.DOCUMENT, XPATH),
                resources=False,
            ),
        ]

    def _endpoint(self, name: str, *ports: Any, resources: bool = True) -> Endpoint:
        def note(_kind: str, element: _Element) -> None:
            Contract.packaged().validate(element)

        return Endpoint(name, ports, name, now=self.now, on_message=note, resources=resources)


def _content(answer: Answer) -> _Element | Answer:
    if not answer.body:
        return answer
    body = etree.fromstring(answer.body).find(f"{{{NS['s11']}}}Body")
    assert body is not None
    detail = body.find(f"{{{NS['s11']}}}Fault/detail")
    return body[0] if detail is None else detail[0]


def _add(event: Event, tx: Any) -> None:
    tx.outbox.add([event])


def sequences(answer: _Element) -> list[int]:
    """Return the sequence numbers of the messages in an answer."""
    return [int(each.get("sequence", "-1")) for each in answer.iterfind(".//fl:StateChange", dict(NS))]


def numbers(answer: _Element) -> dict[str, str]:
    """Return the numbers that an answer tells, with a gap as ``from-to``."""
    found = answer.find("fl:Numbers", dict(NS))
    assert found is not None
    gap = found.find("fl:Gap", dict(NS))
    told = {str(name): str(value) for name, value in found.attrib.items()}
    return told if gap is None else {**told, "gap": f"{gap.get('from')}-{gap.get('to')}"}
