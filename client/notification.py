"""What a wsnt:Notify message says, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.client import standard
from flyinglow.client.names import NS, clark
from flyinglow.client.properties import counts, guest, networking
from flyinglow.client.reading import child, elements, moment, number, parse, point, text
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.client.values import Address, GuestReport

_TOPIC_OF: Final = {
    "StateChange": "state",
    "ScheduleChange": "schedule",
    "NetworkingChange": "networking",
    "TerminationNotice": "termination",
    "EndWarning": "warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One event of one resource. ``sequence`` is its number in the resource's history; a filter leaves gaps.

    ``kind`` and ``name`` tell the resource, ``topic`` what changed. What a topic does not tell is None or empty:
    state, task, target, previous, census, guest (what it has just reported) with ``state``; starts_at, ends_at with
    ``schedule``; nics with ``networking``; ends_at with ``termination``; ends_at, seconds with ``warning``; saves_at
    (when its disk is saved for its end) with both ``schedule`` and ``warning``; member (its name), member_url and
    joined (False: it has left) with ``membership``.

    The standards' own messages tell state and previous with ``state-value``, nics with ``networking-value``, ends_at
    with ``end-value`` and ``rl:ResourceTermination``. These and ``membership`` have no number (0), no name, and no time
    but that at which they were received.
    """

    kind: str
    name: str
    topic: str
    sequence: int
    at: datetime
    received_at: datetime
    state: str | None = None
    task: str | None = None
    target: str | None = None
    previous: str | None = None
    reason: str = ""
    census: Mapping[str, int] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    seconds: int | None = None
    saves_at: datetime | None = None
    nics: tuple[Address, ...] = ()
    guest: GuestReport | None = None
    producer: str = ""
    member: str = ""
    member_url: str = ""
    joined: bool | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """A message of one or more notifications."""

    message_id: str | None
    notifications: tuple[Notification, ...]


def read(data: bytes, received_at: datetime) -> Notify:
    """Read a SOAP message of either version. Raises InvalidError or BrokenError when it is not a wsnt:Notify.

    Payloads that are not known are left out.
    """
    envelope = parse(data)
    soap = {f"{{{NS[version]}}}Envelope": version for version in ("s11", "s12")}.get(str(envelope.tag))
    body = child(envelope, f"{soap}:Body") if soap else None
    notify = child(body, "wsnt:Notify")
    if notify is None:
        raise InvalidError("this is not a wsnt:Notify message")
    message_id = text(child(envelope, f"{soap}:Header"), "wsa:MessageID")
    return Notify(message_id, tuple(notifications(notify, received_at)))


def notifications(notify: _Element, received_at: datetime) -> Iterator[Notification]:
    """Yield what the wsnt:NotificationMessages in an element tell, leaving out payloads that are not known."""
    for message in notify.iterfind(clark("wsnt:NotificationMessage")):
        content = child(message, "wsnt:Message")
        payload = None if content is None else next(elements(content), None)
        producer = child(message, "wsnt:ProducerReference")
        if payload is None:
            continue
        if topic := _topic(payload):
            yield _notification(payload, topic, _address(producer), received_at)
        elif (fields := standard.told(payload)) is not None:
            where = _address(producer)
            yield Notification(
                kind=standard.kind_of(where), name="", sequence=0, at=received_at, received_at=received_at,
                producer=where, **fields,
            )  # fmt: skip


def _topic(payload: _Element) -> str | None:
    name = etree.QName(payload)
    return _TOPIC_OF.get(name.localname) if name.namespace == NS["fl"] else None


def _address(producer: _Element | None) -> str:
    address = text(producer, "wsa:Address") or ""
    resource = text(child(producer, "wsa:ReferenceParameters"), "fl:ResourceID")
    return f"{address}/{resource}" if resource else address


def _notification(payload: _Element, topic: str, producer: str, received_at: datetime) -> Notification:
    source, census = child(payload, "Source"), child(payload, "Census")
    return Notification(
        kind=text(source, "Kind") or "",
        name=text(source, "Name") or "",
        topic=topic,
        sequence=int(payload.get("sequence", "0")),
        at=point(text(payload, "Time") or ""),
        received_at=received_at,
        state=text(payload, "State"),
        task=text(payload, "Task"),
        target=text(payload, "Target"),
        previous=text(payload, "Previous"),
        reason=text(payload, "Reason") or "",
        census=None if census is None else counts(census),
        starts_at=moment(payload, "StartTime"),
        ends_at=moment(payload, "TerminationTime"),
        seconds=number(payload, "Seconds"),
        saves_at=moment(payload, "SavingTime"),
        nics=networking(child(payload, "Networking")),
        guest=guest(child(payload, "ContextStatus")),
        producer=producer,
    )
