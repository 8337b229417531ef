"""A workspace, group or ensemble, as a handle on which its operations are called."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.client import access, faults, properties
from flyinglow.client.epr import Epr
from flyinglow.client.errors import LeaseFailed
from flyinglow.client.names import LOST, NS, clark
from flyinglow.client.reading import child, elements, flag, moment, number, text
from flyinglow.client.values import Console, Properties, Report, Result
from flyinglow.nodectl.errors import ConflictError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import _Element

    from flyinglow.client.access import Share
    from flyinglow.client.wire import Wire

_POLL: Final = (0.1, 2.0)  # seconds between two looks: at first, and at most
_GROWTH: Final = 1.4


def _grantee(identity: str | None, group: str | None) -> dict[str, str]:
    if (identity is None) == (group is None):
        raise InvalidError("it is shared with an identity or with a group: name one of them")
    return {"Identity": identity} if identity is not None else {"Group": group or ""}


class Resource:
    """A handle on one resource; holds no state of it, so every call asks the service. May be shared by threads.

    Every operation raises UnknownError when there is no such resource (or it is not the caller's), ConflictError
    when its state does not allow it, and TransientError when the service cannot be reached.
    """

    def __init__(self, wire: Wire, epr: Epr, name: str = "") -> None:
        self.wire, self.epr, self._name = wire, epr, name
        self.kind = epr.kind

    def __repr__(self) -> str:
        return f"<{self.kind} {self._name or self.url}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    @property
    def url(self) -> str:
        """The address by which any tool reaches it without headers."""
        return self.epr.url

    @property
    def id(self) -> str:
        """The last step of ``url``."""
        return self.url.rpartition("/")[2]

    @property
    def name(self) -> str:
        """Its name; asks the service once when it is not known yet."""
        if not self._name:
            self._name = "".join(element.text or "" for element in self.property("Name"))
        return self._name

    def properties(self) -> Properties:
        """Read all its properties, in one message."""
        answer = self.wire.call(self.kind, "GetResourcePropertyDocument", self.epr)
        document = next(elements(answer), answer)
        return properties.read(document, self.kind, self.sibling)

    def property(self, name: str) -> list[_Element]:
        """Read one property: ``State``, ``rl:TerminationTime`` or a Clark name. Raises InvalidError for no such one."""
        answer = self.wire.call(self.kind, "GetResourceProperty", self.epr, etree.QName(clark(name)))
        return list(elements(answer))

    def start(self) -> list[Result]:
        """Start it, or let it go on after a pause. Returns a result a member; for a workspace none."""
        return self._results(self.wire.call(self.kind, "Start", self.epr))

    def shutdown(self, mode: str = "Normal", save_to: str | None = None) -> list[Result]:
        """Shut it down: Normal, Pause, Reboot, Trash (ends the lease) or Save (to the URI ``save_to``).

        Several are saved to a URI with ``{name}`` or ``{tag}`` in it, where each one's own is put.
        """
        place = {} if save_to is None else {"SaveTo": save_to}
        return self._results(self.wire.call(self.kind, "Shutdown", self.epr, Mode=mode, **place))

    def pause(self) -> list[Result]:
        """Stop executing, stay in memory."""
        return self.shutdown("Pause")

    def resume(self) -> list[Result]:
        """Go on after a pause."""
        return self.start()

    def reboot(self) -> list[Result]:
        """Start the guest anew."""
        return self.shutdown("Reboot")

    def trash(self) -> list[Result]:
        """End it and throw its disks away; its properties stay readable for a while, with the final state."""
        return self.shutdown("Trash")

    def extend(self, seconds: int) -> datetime:
        """Move the lease's end by this many seconds and return the new end. Raises DeniedError beyond policy."""
        now = self.properties().ends_at
        if now is None:
            raise ConflictError(f"the lease of {self.name or self.url} has not begun, so it has no end to move")
        return self.set_end(now + timedelta(seconds=seconds))

    def set_end(self, at: datetime) -> datetime:
        """Set the lease's end and return it as the service granted it."""
        answer = self.wire.call(self.kind, "SetTerminationTime", self.epr, RequestedTerminationTime=at.astimezone(UTC))
        return moment(answer, "rl:NewTerminationTime") or at

    def rename(self, name: str) -> None:
        """Give it another name (WS-ResourceProperties, SetResourceProperties); a guest keeps its host name.

        Raises InvalidError for what is no name, ConflictError for one that another member has.
        """
        self._set(Name=name)
        self._name = name

    def set_end_action(self, action: str, save_to: str | None = None) -> None:
        """Say what becomes of the disks at the end: Trash, or Save to the URI ``save_to``.

        Several are saved to a URI with ``{name}`` or ``{tag}`` in it. Raises InvalidError when there is nothing to
        save, or too little time, and ConflictError when it is over or being saved.
        """
        self._set(EndAction=action, **({} if save_to is None else {"SaveTo": save_to}))

    def destroy(self) -> None:
        """End the lease; from the answer on nobody can address it any more. Its nodes confirm a little later."""
        self.wire.call(self.kind, "Destroy", self.epr)

    def console(self, offset: int = 0, max: int = 65536) -> Console:
        """Read what the guest of a workspace has said on its console, from byte ``offset``."""
        answer = self.wire.call(self.kind, "Console", self.epr, Offset=offset, Max=max)
        data = base64.b64decode(text(answer, "flw:Data") or "")
        return Console(data=data, offset=number(answer, "flw:Offset") or 0, size=number(answer, "flw:Size") or 0)

    def delegate(self, identity: str | None = None, *, group: str | None = None, level: str = "read") -> None:
        """Share it with an identity, or with a group; ``level`` is read or full. Only its owner may."""
        self.wire.call(self.kind, "Delegate", self.epr, **_grantee(identity, group), Level=level)

    def revoke(self, identity: str | None = None, *, group: str | None = None) -> None:
        """Share it no longer. Raises ConflictError when it was not shared with them."""
        self.wire.call(self.kind, "Revoke", self.epr, **_grantee(identity, group))

    def shares(self) -> list[Share]:
        """Return with whom it, or what it is part of, is shared."""
        return [access.share(element) for element in self.property("Share")]

    def done(self) -> None:
        """Close an open ensemble: no parts can be added any more, and it starts."""
        self.wire.call(self.kind, "Done", self.epr)

    def add(self, member: Resource) -> None:
        """Take a workspace that stands alone into this ensemble, which is done. Raises ConflictError when it cannot be.

        To add machines that are launched together with the others, create them with ``join`` before ``done``.
        """
        self.wire.call(self.kind, "Add", self.epr, MemberEPR=member.epr.values())

    def report(self) -> Report:
        """Read a group's or ensemble's own account of its members."""
        answer = self.wire.call(self.kind, "Report", self.epr)
        census = child(answer, "Census")
        return Report(
            name=text(answer, "Name") or "",
            state=text(answer, "State") or "",
            task=text(answer, "Task"),
            reason=text(answer, "Reason") or "",
            open=flag(answer, "Open"),
            census={} if census is None else properties.counts(census),
            members=properties.members(answer, self.sibling),
        )

    def wait(
        self,
        *states: str,
        timeout: float | None = None,
        on_change: Callable[[Properties], None] | None = None,
        pause: Callable[[float], object] = time.sleep,
    ) -> Properties:
        """Wait until it is at rest in one of ``states`` (Running when none is given) and return its properties.

        ``on_change`` is told of every state, task or reason to wait seen on the way. ``pause`` waits between two looks
        for the seconds it is given; it may return earlier, when it knows of news. Raises LeaseFailed when it has come
        to an end that was not awaited, and TimeoutError after ``timeout`` seconds; the resource is left as it is.
        """
        wanted, seen = set(states or ("Running",)), None
        deadline = None if timeout is None else time.monotonic() + timeout
        interval, longest = _POLL
        while True:
            found = self.properties()
            now = (found.state, found.task, found.waits)
            if now != seen and on_change is not None:
                on_change(found)
            seen = now
            if arrived(found, wanted):
                return found
            if deadline is not None and time.monotonic() + interval > deadline:
                raise TimeoutError(f"{found.name} is still {said(found)} after {timeout:g} s")
            pause(interval)
            interval = min(interval * _GROWTH, longest)

    def sibling(self, reference: _Element) -> Resource:
        """Return the resource of another endpoint reference of the same service's."""
        return Resource(self.wire, Epr.read(reference))

    def _set(self, **properties: str) -> None:
        """Update these properties, in one request."""
        values = []
        for name, value in properties.items():
            element = etree.Element(clark(name), nsmap={"fl": NS["fl"]})
            element.text = value
            values.append(element)
        self.wire.call(self.kind, "SetResourceProperties", self.epr, _value_1=[{"Update": {"_value_1": values}}])

    def _results(self, answer: _Element) -> list[Result]:
        return [self._result(each) for each in elements(answer) if etree.QName(each).localname == "Result"]

    def _result(self, element: _Element) -> Result:
        name, fault = text(element, "Name") or "", child(element, "Fault")
        reference = child(element, "wsa:EndpointReference")
        resource = Resource(self.wire, Epr.read(element if reference is None else reference), name)
        return Result(name=name, resource=resource, error=None if fault is None else faults.read_detail(fault))


def arrived(found: Properties, wanted: set[str]) -> bool:
    """Say whether a resource is at rest where it was awaited. Raises LeaseFailed when it never will be."""
    if found.state in wanted and found.task is None:
        return True
    if found.state in LOST - wanted:
        raise LeaseFailed(found.name, found.state, found.reason)
    return False


def said(found: Properties) -> str:
    """Return state and task in words."""
    return f"{found.state} ({found.task})" if found.task else found.state
