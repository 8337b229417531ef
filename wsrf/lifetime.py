"""WS-ResourceLifetime 1.2: the end of a resource, now (Destroy) or at a time (SetTerminationTime)."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from flyinglow.nodectl.errors import DeniedError, ExhaustedError, InvalidError, NeverError
from flyinglow.wsrf.faults import TypedFault
from flyinglow.wsrf.operation import Call, ServiceBase, call_of, operation
from flyinglow.wsrf.xml import E, is_nil, parse_duration, parse_time, qname, timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from lxml.etree import _Element

    from flyinglow.wsrf.ports import ResourceDirectory

STEM: Final = "http://docs.oasis-open.org/wsrf/rlw-2/"
UNABLE: Final = qname("rl", "UnableToSetTerminationTimeFault")
REJECTED: Final = qname("rl", "TerminationTimeChangeRejectedFault")

_SET: Final = "SetTerminationTime"
_TIME: Final = qname("rl", "RequestedTerminationTime")


def port(directory: ResourceDirectory, *, scheduled: bool = True) -> type[ServiceBase]:
    """Return the service that ends what ``directory`` knows; ``scheduled`` False publishes Destroy only."""

    def destroy(ctx: Any, _body: _Element) -> Any:
        call = call_of(ctx)
        directory.destroy(call.caller, call.resource)
        return E["rl"].DestroyResponse()

    def set_termination_time(ctx: Any, body: _Element) -> Any:
        call = call_of(ctx)
        wanted = requested_time(body, call.received_at)
        with _typed():
            granted = directory.set_termination_time(call.caller, call.resource, wanted)
        return _answer(granted, call) if isinstance(granted, datetime) else _answered(granted, call)

    now = operation(qname("rl", "Destroy"), action=f"{STEM}ImmediateResourceTermination/Destroy")
    later = operation(qname("rl", _SET), action=f"{STEM}ScheduledResourceTermination/{_SET}")
    published = {"destroy": now(destroy)} | ({"set_termination_time": later(set_termination_time)} if scheduled else {})
    service: type[ServiceBase] = type(ServiceBase)("ResourceLifetime", (ServiceBase,), published)
    return service


def requested_time(body: _Element, now: datetime) -> datetime:
    """Return the time that a SetTerminationTime asks for, which is later than ``now``.

    Raises TypedFault: UnableToSetTerminationTimeFault for "never" (nil) and for what is no time,
    TerminationTimeChangeRejectedFault for the past.
    """
    element = body[0]  # the schema has seen to it that there is one
    if is_nil(element):
        raise TypedFault(UNABLE, "a lease cannot last for ever: name a termination time")
    text = element.text or ""
    try:
        wanted = parse_time(text) if element.tag == _TIME else parse_duration(text).after(now)
    except InvalidError as error:
        raise TypedFault(UNABLE, error.message) from error
    if wanted <= now:
        raise TypedFault(REJECTED, "the termination time has passed already: use Destroy to end it now")
    return wanted


async def _answered(granted: Awaitable[datetime], call: Call) -> _Element:
    with _typed():
        at = await granted
    return _answer(at, call)


def _answer(granted: datetime, call: Call) -> _Element:
    answer: _Element = E["rl"].SetTerminationTimeResponse(
        E["rl"].NewTerminationTime(timestamp(granted)),
        E["rl"].CurrentTime(timestamp(call.received_at)),
    )
    return answer


@contextmanager
def _typed() -> Iterator[None]:
    """Turn what a directory raises into the faults of the standard."""
    try:
        yield
    except InvalidError as error:
        raise TypedFault(UNABLE, error.message) from error
    except (DeniedError, ExhaustedError, NeverError) as error:
        raise TypedFault(REJECTED, error.message) from error
