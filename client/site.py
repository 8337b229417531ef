"""A site that offers leases: what it offers, a request for a lease, the list of what one leases."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lxml import etree

from flyinglow.client import access, properties, request
from flyinglow.client.epr import Epr
from flyinglow.client.names import clark
from flyinglow.client.pull_point import PullPoint
from flyinglow.client.reading import child, elements, moment, number, seconds, text
from flyinglow.client.resource import Resource
from flyinglow.client.subscription import Subscription
from flyinglow.client.values import Entry, Estimate, Lease, Offers, Valid
from flyinglow.client.wire import LostError, Wire
from flyinglow.nodectl.errors import BrokenError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    from lxml.etree import _Element

    from flyinglow.client.access import Quota
    from flyinglow.client.credential import Credential
    from flyinglow.client.lease_watch import LeaseWatch
    from flyinglow.client.request import Part

_PAGE = 100


def _subscriptions(answer: _Element) -> list[Epr]:
    made = (child(each, "flf:SubscriptionReference") for each in answer.iterfind(clark("flf:Resource")))
    return [Epr.read(reference) for reference in made if reference is not None]


def connect(url: str, *, timeout: float = 30.0, credential: Credential | None = None) -> Site:
    """Return the site whose service answers below ``url`` (``https://HOST:PORT``). Nothing is sent yet.

    ``timeout`` is in seconds, for connecting and for each answer; ``credential`` is what is shown over https.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidError(f"{url!r} is not the URL of a service (http://HOST:PORT)")
    return Site(url.rstrip("/").removesuffix("/factory"), Wire(timeout, credential))


class Site:
    """A site. May be shared by threads."""

    def __init__(self, url: str, wire: Wire) -> None:
        self.url = url
        self._wire = wire
        self._factory = Epr(f"{url}/factory")

    def offers(self) -> Offers:
        """Read what the site offers, and what of it is free now."""
        answer = self._wire.call("factory", "GetResourcePropertyDocument", self._factory)
        return properties.offers(next(elements(answer), answer))

    def create(
        self,
        parts: Sequence[Part],
        *,
        name: str,
        duration: int | timedelta | None = None,
        start_by: datetime | None = None,
        start_within: int | timedelta | None = None,
        initial_state: str = "Running",
        end_action: str = "Trash",
        save_to: str | None = None,
        preemptable: bool = False,
        ready_barrier: int | timedelta | None = None,
        open: bool = False,
        join: Resource | None = None,
        token: str | None = None,
        watch: LeaseWatch | None = None,
    ) -> Lease:
        """Ask for a lease: granted whole or not at all, and all its resources come with the answer.

        A request carries a token, a random one when none is given, so when the connection breaks it is sent once
        more without danger of a second lease. ``watch`` (from ``Consumer.expect``) is subscribed to all of it before
        its first event, and closed when nothing is granted. A ``preemptable`` lease may be ended early for others.
        With the ``end_action`` Save, disks are sent to the URI ``save_to`` before the end; with ``{name}`` or ``{tag}``
        in it where each workspace's own is put.
        With a ``ready_barrier`` it is Running when all guests have said, within that time, that they are ready.

        Raises ExhaustedError (not now; ``figures`` say what is short), NeverError (not here at all), InvalidError,
        DeniedError, or TransientError.
        """
        asked = request.Request(
            name=name,
            parts=tuple(parts),
            token=token or uuid.uuid4().hex,
            duration=duration,
            start_by=start_by,
            start_within=start_within,
            initial_state=initial_state,
            end_action=end_action,
            save_to=save_to,
            preemptable=preemptable,
            ready_barrier=ready_barrier,
            open=open,
            join=None if join is None else join.epr,
            subscribe=None if watch is None else watch.request(),
        )
        try:
            answer = self._create(asked)
        except BaseException:
            if watch is not None:
                watch.close()
            raise
        lease = self._lease(answer)
        if watch is not None:
            made = [(resource.kind, resource.name) for resource in self._made(answer)]
            watch.begin(self._wire, made, _subscriptions(answer))
        return lease

    def _create(self, asked: request.Request) -> _Element:
        values = request.values(asked)
        try:
            return self._wire.call("factory", "Create", self._factory, **values)
        except LostError:
            return self._wire.call("factory", "Create", self._factory, **values)

    def quota(self) -> Quota | None:
        """Return what one's policies allow, and what of it is used; None where only the site's terms limit one."""
        answer = self._wire.call("factory", "GetResourceProperty", self._factory, etree.QName(clark("Quota")))
        found = next(elements(answer), None)
        return None if found is None else access.quota(found)

    def validate(self, parts: Sequence[Part], **asked: Any) -> Valid:
        """Say what ``create`` with these arguments would do now, or raise what it would raise; nothing is leased."""
        answer = self._wire.call("factory", "Validate", self._factory, Create=self._asked(parts, asked))
        return Valid(
            workspaces=number(answer, "flf:Workspaces") or 0,
            duration=seconds(answer, "flf:Duration") or 0,
            waits=text(answer, "flf:WaitingReason") or "",
        )

    def estimate(self, parts: Sequence[Part], **asked: Any) -> Estimate:
        """Say when ``create`` with these arguments would start, and why not at once; raises as ``create``.

        For what does not fit now it raises nothing: it has a reason and no time.
        """
        answer = self._wire.call("factory", "Estimate", self._factory, Create=self._asked(parts, asked))
        return Estimate(
            starts_in=seconds(answer, "flf:StartsWithin"),
            starts_at=moment(answer, "flf:ExpectedStart"),
            reason=text(answer, "flf:Reason") or "",
        )

    def _asked(self, parts: Sequence[Part], asked: dict[str, Any]) -> request.Values:
        """Return the parts of a Create that is only looked at. Raises TypeError for arguments that create has not."""
        join = asked.pop("join", None)
        made = request.Request(parts=tuple(parts), join=None if join is None else join.epr, **{"token": None, **asked})
        return request.values(made)

    def list(self, kind: str | None = None, state: str | None = None, *, everybody: bool = False) -> Iterator[Entry]:
        """Yield everything the caller leases, asking for page after page; destroyed resources are not in it.

        ``everybody``: what all lease, for observers and administrators. Raises DeniedError for others.
        """
        after: str | None = None
        while True:
            wanted = {"After": after, "Limit": _PAGE, "Kind": kind, "State": state, "Everybody": everybody or None}
            given = {key: value for key, value in wanted.items() if value is not None}
            answer = self._wire.call("factory", "List", self._factory, **given)
            for entry in answer.iterfind(clark("flf:Entry")):
                yield self._entry(entry)
            after = text(answer, "flf:Next")
            if not after:
                return

    def resource(self, reference: str | _Element | Epr) -> Resource:
        """Return the resource at a URL (``…/workspace/ID``) or of an endpoint reference. Nothing is sent yet."""
        return Resource(self._wire, Epr.parse(reference))

    def pull_point(self, *, lifetime: int = 3600) -> PullPoint:
        """Make a place at the service where notifications wait until they are fetched, for who cannot be sent to.

        It is a context manager, and ends ``lifetime`` seconds after it was used last. Raises DeniedError when the
        caller has as many as are allowed.
        """
        return PullPoint(self._wire, self.url, lifetime=lifetime)

    def subscription(self, url: str) -> Subscription:
        """Return the subscription at a URL (the Address of a SubscriptionReference). Nothing is sent yet."""
        return Subscription(self._wire, Epr.parse(url))

    def _lease(self, answer: _Element) -> Lease:
        made = self._made(answer)
        if not made:
            raise BrokenError("the service granted a lease without any resource")
        resources: dict[str, Resource] = {}
        for resource in made:
            resources.setdefault(resource.name, resource)
        return Lease(whole=made[0], resources=resources, ends_at=moment(answer, "flf:TerminationTime"))

    def _made(self, answer: _Element) -> tuple[Resource, ...]:
        return tuple(self._named(each) for each in answer.iterfind(clark("flf:Resource")))

    def _entry(self, element: _Element) -> Entry:
        return Entry(
            name=text(element, "flf:Name") or "",
            kind=text(element, "flf:Kind") or "",
            resource=self._named(element),
            state=text(element, "flf:State") or "",
            task=text(element, "flf:Task"),
            ends_at=moment(element, "flf:TerminationTime"),
            owner=text(element, "flf:Owner"),
        )

    def _named(self, element: _Element) -> Resource:
        reference = child(element, "wsa:EndpointReference")
        return Resource(
            self._wire, Epr.read(element if reference is None else reference), text(element, "flf:Name") or ""
        )
