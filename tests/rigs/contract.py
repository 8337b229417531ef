"""Plain values and stand-ins for the services, for what is between them and the wire.

One lease is set out: the ensemble ``atlas`` of a compute element, a storage element and two workers, as in the
paper's section 2.3. What ``rigs.contract_site`` answers with them to the requests in ``docs/samples`` is what stands
there as well.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.access.policy import Policy
from flyinglow.access.quotas import Use
from flyinglow.access.shares import Grantee, Level, Share
from flyinglow.backend.api import Limits
from flyinglow.factory.listing import Listed, Page
from flyinglow.factory.model import Created, CreateRequest, Outlook, Valid
from flyinglow.factory.offers import FreeNow, NetworkOffer, Offers
from flyinglow.group.members import MemberResult, Whole
from flyinglow.nodectl.errors import ConflictError, ExhaustedError, UnknownError
from flyinglow.notification.envelope import Envelopes
from flyinglow.notification.model import Delivered, PullPoint, Subscription
from flyinglow.notification.pulling.service import Fetched, Wish
from flyinglow.notification.service import Granted
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.workspace.catalogue import Image
from flyinglow.workspace.changes import Change
from flyinglow.workspace.model import (
    Allocation,
    Collection,
    Disk,
    Event,
    GuestReport,
    GuestStatus,
    Kind,
    Nic,
    ResourceKey,
    Stamp,
    Topic,
    Workspace,
)
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.quotas import Standing
from flyinglow.workspace.service import ConsoleText
from flyinglow.workspace.states import State
from flyinglow.workspace.terms import Terms
from flyinglow.wsrf.addresses import Addresses

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
SERVICES = (
    *("broker", "consumer", "ensemble", "entry", "factory", "group", "pullpoint", "pullpoints", "subscription"),
    "workspace",
)
"""The services that have a WSDL, by name."""
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ENDS = NOW + timedelta(hours=2)
ADDRESSES = Addresses("http://site.example:8080")
ENSEMBLE = ResourceKey(Kind.ENSEMBLE, "5b0e3d1c9a7f4e2d8c6b1a0f3e5d7c9b")
PULL_POINT = "c4a1e7b29d5f4c08a6e3b1d7f9024c6e"
KEY = ResourceKey(Kind.WORKSPACE, "01a3f1c09b7d5e4812b6c4d8e2f0a1b3")
SUBSCRIPTION = "9d1e5b7a3c8f4e60b2a4c6d8e0f1a3b5"
GROUP = ResourceKey(Kind.GROUP, "7c1f4e2d0b8a4f3e9d7c2b1a4f6e8d0c")
SOAP = {"1.1": "http://schemas.xmlsoap.org/soap/envelope/", "1.2": "http://www.w3.org/2003/05/soap-envelope"}


def nic(network: str, number: int) -> Nic:
    """Return an interface with its leased addresses."""
    third = 0 if network == "public" else 1
    return Nic(
        network=network,
        name=f"eth{third}",
        ip=f"192.168.{third}.{number}",
        prefix=24,
        mac=f"52:54:00:00:0{third}:{number:02x}",
        hostname=f"{network}-{number}",
        gateway=f"192.168.{third}.1",
        dns=(f"192.168.{third}.1",),
    )


def workspace(name: str, number: int, **facts: Any) -> Workspace:
    """Return a workspace of the lease that runs on node1."""
    networks = ("private",) if name.startswith("wn") else ("public", "private")
    row = Workspace(
        id=f"{number:02d}" + "a3f1c09b7d5e4812b6c4d8e2f0a1b3c"[:30],
        tag=f"k3b9q2x{number}",
        owner=LOCAL.name,
        name=name,
        part=name.partition("-")[0],
        lease_id="lease",
        launch_set="lease",
        ensemble_id=ENSEMBLE.id,
        state=State.RUNNING,
        task=None,
        node="node1",
        allocation=Allocation(memory_mb=512, cpus=1, disk_mb=1024),
        disks=(Disk(name="root", image="minimal"), Disk(name="scratch", blank_mb=1024, mount="/scratch")),
        nics=tuple(nic(network, 10 + number) for network in networks),
        duration=7200,
        accepted_at=NOW,
        ends_at=ENDS,
        stamps={
            Stamp.ACCEPTED: NOW,
            Stamp.SCHEDULED: NOW,
            Stamp.STARTED: NOW + timedelta(milliseconds=2345),
        },
        seconds={"image": 0.75, "started": 0.1234},
    )
    return replace(row, **facts)


MEMBERS = (workspace("ce", 1), workspace("se", 2), workspace("wn-1", 3), workspace("wn-2", 4))
CE = MEMBERS[0]
OFFERS = Offers(
    limits=Limits(max_memory_mb=16384, max_cpus=8, max_disk_mb=200000, max_members=64),
    default_duration=3600,
    max_duration=604800,
    schedule="immediate",
    architectures=("x86_64",),
    vmms=("qemu",),
    networks=(NetworkOffer(name="private", total=200, free=196), NetworkOffer(name="public", total=20, free=18)),
    images=(Image(name="minimal", sha256="ab" * 32, size_mb=12, description="boots in a second"),),
    free=FreeNow(
        nodes=2,
        memory_mb=30720,
        cpus=12,
        disk_mb=395904,
        largest_memory_mb=16384,
        largest_cpus=8,
        largest_disk_mb=200000,
    ),
)


class Workspaces:
    """In place of WorkspaceService: every workspace is ``row``; ``asked`` notes what was asked for."""

    terms = Terms()

    def __init__(self, row: Workspace = CE) -> None:
        self.row = row
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def get(self, caller: Identity, resource: str) -> Workspace:
        if resource != self.row.id:
            raise UnknownError("there is no such workspace")
        return self.row

    def guest(self, caller: Identity, resource: str) -> GuestReport | None:
        row = self.get(caller, resource)
        if row != CE:
            return None
        values = {"hostkey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7dd4Nn0kvHTwJ3hB0cPZ3o0Wc0s8QGm4yJm8o1lJ5x"}
        return GuestReport(workspace_id=row.id, status=GuestStatus.OK, message="2 services up", values=values, at=NOW)

    def start(self, caller: Identity, resource: str) -> Workspace:
        return self._note(caller, resource, "start")

    def shutdown(self, caller: Identity, resource: str, mode: ShutdownMode) -> Workspace:
        return self._note(caller, resource, mode)

    def destroy(self, caller: Identity, resource: str) -> None:
        self._note(caller, resource, "destroy")

    def set_end(self, caller: Identity, resource: str, at: datetime) -> datetime:
        self._note(caller, resource, at)
        return at

    def console(self, caller: Identity, resource: str, offset: int, limit: int) -> Coroutine[Any, Any, ConsoleText]:
        self._note(caller, resource, (offset, limit))

        async def answer() -> ConsoleText:
            return ConsoleText(data=b"ce login: ", offset=offset, size=offset + 10)

        return answer()

    def _note(self, caller: Identity, resource: str, what: Any) -> Workspace:
        self.get(caller, resource)
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        return self.row


class Wholes:
    """In place of GroupService and EnsembleService: every one is ``whole``."""

    terms = Terms()

    def __init__(self, whole: Whole) -> None:
        self.whole = whole
        self.asked: list[Any] = []

    def get(self, caller: Identity, resource: str) -> Whole:
        if resource != self.whole.row.key.id:
            raise UnknownError("there is no such resource")
        return self.whole

    def start(self, caller: Identity, resource: str) -> list[MemberResult]:
        return self._fan_out(caller, resource, "start")

    def shutdown(
        self, caller: Identity, resource: str, mode: ShutdownMode, save_to: str | None = None
    ) -> list[MemberResult]:
        return self._fan_out(caller, resource, mode)

    def destroy(self, caller: Identity, resource: str) -> None:
        self._fan_out(caller, resource, "destroy")

    def set_end(self, caller: Identity, resource: str, at: datetime) -> datetime:
        self._fan_out(caller, resource, at)
        return at

    def done(self, caller: Identity, resource: str) -> Whole:
        self._fan_out(caller, resource, "done")
        return self.whole

    def add(self, caller: Identity, resource: str, member_id: str) -> Workspace:
        if member_id == self.whole.members[0].id:
            raise ConflictError(f"workspace {self.whole.members[0].name} is a member of another whole already")
        self._fan_out(caller, resource, member_id)
        return replace(self.whole.members[0], id=member_id)

    def _fan_out(self, caller: Identity, resource: str, what: Any) -> list[MemberResult]:
        """Refuse the last member and do the others."""
        self.get(caller, resource)
        self.asked.append(what)
        *done, last = self.whole.members
        refused = ConflictError(f"workspace {last.name} is Corrupted: its lease is over", {"attempts": 2})
        return [*(MemberResult(workspace=row) for row in done), MemberResult(workspace=last, error=refused)]


class Changes:
    """A stand-in that notes what was to be changed."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Change]] = []

    def workspace(self, caller: Identity, resource: str, change: Change) -> None:
        """Note it."""
        self.asked.append((resource, change))

    def collection(self, find: Any, change: Change) -> None:
        """Note it, without looking who it is."""
        del find
        self.asked.append(("", change))


STANDING = Standing(
    policy=Policy(names=("atlas",), running=20, cpus=40, minutes=6000, members=16),
    use=Use(running=4, cpus=4, memory_mb=2048, used=3600, reserved=10800),
)


class Factory:
    """In place of FactoryService: hands out the lease, except to ``too-big``."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def standing(self, caller: Identity) -> Standing | None:
        return STANDING

    def create(self, caller: Identity, request: CreateRequest, watch: SubscribeRequest | None = None) -> Created:
        self.asked.append(request)
        if request.name == "too-big":
            raise ExhaustedError(
                "2 of 4 workspaces fit now: not enough memory is free",
                {"memory_mb.asked": 65536, "memory_mb.free": 30720, "would_fit": 2},
            )
        members = tuple((row.name, row.key) for row in MEMBERS)
        resources = (("atlas", ENSEMBLE), *members[:2], ("wn", GROUP), *members[2:])
        made = {} if watch is None else {key: f"{at:x}{key.id[1:]}" for at, (_, key) in enumerate(resources)}
        return Created(lease_id="lease", resources=resources, ends_at=ENDS, subscriptions=made)

    def validate(self, caller: Identity, request: CreateRequest, watch: SubscribeRequest | None = None) -> Valid:
        self.asked.append(request)
        return Valid(workspaces=4, duration=7200, waits="the scheduler says Resources")

    async def estimate(self, caller: Identity, request: CreateRequest) -> Outlook:
        self.asked.append(request)
        at = NOW + timedelta(minutes=15)
        return Outlook(starts_in=900.0, starts_at=at, reason="the scheduler says Resources")

    def list(self, caller: Identity, **wanted: Any) -> Page:
        self.asked.append(wanted)
        rows = (
            Listed(key=ENSEMBLE, name="atlas", owner="local", state="Running", task=None, reason="", ends_at=ENDS),
            Listed(
                key=CE.key, name="ce", owner="CN=Bob,O=Grid", state="Paused", task="Resuming", reason="", ends_at=None
            ),
        )
        return Page(rows, CE.id)

    def offers(self, caller: Identity) -> Offers:
        return OFFERS


def whole_of(key: ResourceKey, members: tuple[Workspace, ...], **facts: Any) -> Whole:
    """Return a group or ensemble with these members."""
    name = "wn" if key.kind is Kind.GROUP else "atlas"
    row = Collection(key=key, owner=LOCAL.name, name=name, lease_id="lease", accepted_at=NOW)
    return Whole(row=replace(row, **facts), members=members, all_members=members)


class Pulls:
    """In place of PullService: there is one pull point, with one message that is fetched and one that is not."""

    row = PullPoint(
        id=PULL_POINT, owner=LOCAL.name, created_at=NOW, ends_at=NOW + timedelta(days=1), first=1, last=2, fetched=1
    )

    def create(self, caller: Identity) -> PullPoint:
        return self.row

    def get(self, caller: Identity, resource: str) -> PullPoint:
        return self.row

    def fetch(self, caller: Identity, resource: str, wish: Wish) -> Fetched:
        envelopes = Envelopes(ADDRESSES)
        row, _ = Subscriptions().look(caller, SUBSCRIPTION)
        event = Subscriptions().current(caller, KEY, [Topic.STATE])
        return Fetched(first=2, messages=(envelopes.kept(row, event),))

    def publish(self, caller: Identity, resource: str, bodies: Sequence[str]) -> None:
        pass

    def destroy(self, caller: Identity, resource: str) -> None:
        pass

    def set_end(self, caller: Identity, resource: str, at: datetime) -> datetime:
        return at


class Sharing:
    """In place of SharingService: what is shared is shared with one reader."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def shares(self, caller: Identity, key: ResourceKey) -> list[Share]:
        return [
            Share(
                resource_id=key.id,
                grantee=Grantee("CN=Bob,O=Grid"),
                level=Level.READ,
                granted_by="local",
                granted_at=NOW,
            )
        ]

    def delegate(self, caller: Identity, key: ResourceKey, grantee: Grantee, level: Level) -> None:
        self.asked.append((key, grantee, level))

    def revoke(self, caller: Identity, key: ResourceKey, grantee: Grantee) -> None:
        self.asked.append((key, grantee))


class Subscriptions:
    """In place of SubscriptionService: there is one subscription, of an hour unless asked otherwise."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def subscribe(self, caller: Identity, producer: ResourceKey, request: SubscribeRequest) -> Granted:
        self.asked.append((producer, request))
        return Granted(id=SUBSCRIPTION, now=NOW, ends_at=NOW + timedelta(hours=1))

    def renew(self, caller: Identity, resource: str, end: Any) -> Granted:
        self.asked.append((resource, end))
        return Granted(id=resource, now=NOW, ends_at=NOW + timedelta(hours=2))

    def unsubscribe(self, caller: Identity, resource: str) -> None:
        self.asked.append(resource)

    def set_end(self, caller: Identity, resource: str, end: Any) -> Granted:
        self.asked.append((resource, end))
        return Granted(id=resource, now=NOW, ends_at=NOW + timedelta(hours=2))

    def pause(self, caller: Identity, resource: str) -> None:
        self.asked.append(resource)

    def resume(self, caller: Identity, resource: str) -> None:
        self.asked.append(resource)

    def current(self, caller: Identity, producer: ResourceKey, topics: Sequence[Topic]) -> Event:
        body = {"name": "ce", "state": "Running", "task": None, "target": None, "reason": "", "previous": "Propagated"}
        key = KEY if producer.kind is Kind.BROKER else producer
        return Event(key=key, sequence=7, topic=topics[0], owner=LOCAL.name, at=NOW, body=body)

    def log(self, caller: Identity, resource: str) -> list[Delivered]:
        at = NOW - timedelta(minutes=4)
        return [
            Delivered(
                number=40 + number,
                message_id=f"urn:uuid:5f0c1a9e-7d3b-5e2f-8a46-9c0b1d2e3f{number:02d}",
                event=replace(self.current(caller, KEY, [Topic.STATE]), sequence=number),
                at=at,
                failures=number - 1,
            )
            for number in (1, 2)
        ]

    def redeliver(self, caller: Identity, resource: str, number: int) -> int:
        self.asked.append((resource, number))
        return 2

    def look(self, caller: Identity, resource: str) -> tuple[Subscription, int]:
        made = Subscription(
            id=resource,
            owner=LOCAL.name,
            producer=ResourceKey(Kind.WORKSPACE, "01a3f1c09b7d5e4812b6c4d8e2f0a1b3"),
            consumer="http://portal.example:9000/notify",
            parameters=('<p:Lease xmlns:p="urn:portal">42</p:Lease>',),
            topics=("state",),
            created_at=NOW - timedelta(minutes=5),
            ends_at=NOW + timedelta(hours=1),
            failures=12,
            failing_since=NOW - timedelta(minutes=4),
            last_error="HTTP status 503",
            paused_at=NOW,
            pause_reason="its consumer failed; resume it when it answers again",
        )
        return made, 3
