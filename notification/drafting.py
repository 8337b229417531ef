"""A request for a subscription, judged apart from what it is about: its end, its filters, its consumer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from flyinglow.access.consumers import may_name
from flyinglow.access.decision import Deny
from flyinglow.access.identity import Identity
from flyinglow.access.policy import OPEN, PolicyBook
from flyinglow.nodectl.errors import UnknownError
from flyinglow.notification import faults
from flyinglow.notification.consumers import Consumers, RefusedError
from flyinglow.notification.contents import PRODUCER_PROPERTIES, Contents
from flyinglow.notification.lifetime import Lifetimes, UnacceptableError, grant
from flyinglow.notification.model import Subscription
from flyinglow.notification.ports import NotificationTx
from flyinglow.notification.subscribing import SubscribeRequest
from flyinglow.wsrf.xml import qname

USE_RAW: Final = qname("wsnt", "UseRaw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request for a subscription that was judged; what it is about is still to be said."""

    request: SubscribeRequest
    made_at: datetime
    ends_at: datetime | None
    pull_point_id: str | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether each event has to be evaluated for it."""
        return bool(self.request.contents or self.request.properties)


class Places(Protocol):
    """The pull points of this service, as consumers."""

    def local(self, address: str) -> str | None:
        """Return the id of the pull point at an address; None for any other consumer."""

    def find(self, tx: NotificationTx, caller: Identity, pull_point_id: str) -> object:
        """Raise UnknownError unless it is there and the caller's."""


class Judge:
    """Judges requests. ``places`` are the pull points that messages are put into without a request."""

    def __init__(
        self,
        *,
        consumers: Consumers,
        contents: Contents,
        lifetimes: Lifetimes,
        places: Places | None = None,
        policies: PolicyBook = OPEN,
    ) -> None:
        self._consumers = consumers
        self._contents = contents
        self._lifetimes = lifetimes
        self._places = places
        self._policies = policies

    def draft(self, caller: Identity, request: SubscribeRequest, now: datetime, *, endless: bool = True) -> Draft:
        """Judge a request: the end asked for, the filters, and the consumer (its name is looked up).

        Outside of any transaction, for it may take a while. ``endless`` False: there must be an end. Raises the faults
        of WS-BaseNotification 4.2.
        """
        try:
            ends_at = grant(request.end, now, self.lifetimes(endless=endless))
        except UnacceptableError as error:
            raise faults.initial_time_unacceptable(error.message, error.minimum, error.maximum) from error
        self._contents.check(request.contents)
        self._contents.check(request.properties, PRODUCER_PROPERTIES)
        local = None if self._places is None else self._places.local(request.consumer)
        if local is None:
            self._check(caller, request.consumer)
        elif request.raw:
            message = "a pull point keeps wsnt:NotificationMessages, so it cannot be sent raw ones"
            raise faults.policy_unsupported(message, [USE_RAW])
        return Draft(request=request, made_at=now, ends_at=ends_at, pull_point_id=local)

    def _check(self, caller: Identity, consumer: str) -> None:
        try:
            self.allow(caller, consumer)
            self._consumers.check(consumer)
        except RefusedError as error:
            raise faults.creation_failed(error.message) from error

    def check_still(self, row: Subscription) -> None:
        """Raise ResumeFailedFault for a consumer that the site does not send to, or not any more; may take a while."""
        if row.pull_point_id is not None:
            return
        try:
            self._consumers.check(row.consumer)
        except RefusedError as error:
            raise faults.resume_failed(f"it stays paused: {error.message}") from error

    def allow(self, caller: Identity, consumer: str) -> None:
        """Raise RefusedError for a consumer that the caller's policies do not let him name."""
        try:
            host = urlsplit(consumer).hostname or ""
        except ValueError:
            return  # no URL, which the check of addresses says better
        verdict = may_name(self._policies.of(caller), host)
        if isinstance(verdict, Deny):
            raise RefusedError(verdict.reason)

    def lifetimes(self, *, endless: bool) -> Lifetimes:
        """Return what lives are granted."""
        limits = self._lifetimes
        return replace(limits, unlimited=limits.unlimited and endless)

    def find_place(self, tx: NotificationTx, caller: Identity, draft: Draft) -> None:
        """Raise SubscribeCreationFailedFault for a pull point that is not there or not the caller's."""
        if draft.pull_point_id is None or self._places is None:
            return
        try:
            self._places.find(tx, caller, draft.pull_point_id)
        except UnknownError as error:
            raise faults.creation_failed(error.message) from error
