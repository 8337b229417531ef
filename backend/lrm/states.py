"""The states of pilot jobs and slots, as data: the next one is looked up from what the LRM says and what pilots said.

Sources: section 3.1 and 3.2 of the paper; the native states of each LRM are mapped to ``LrmSays`` by its adapter.
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """A pilot job: one job of the LRM."""

    REQUESTED = "Requested"  # written down; the LRM may or may not know of it
    PENDING = "Pending"  # the LRM has it and it waits
    STARTED = "Started"  # the LRM runs it
    ENDING = "Ending"  # it is not wanted any more, or the LRM ends it
    ENDED = "Ended"  # the LRM runs it no longer, and all its slots are over
    LOST = "Lost"  # it ended against our will


class SlotState(StrEnum):
    """What one pilot holds on one node."""

    UNBOUND = "Unbound"  # no pilot has reported; its node is unknown
    BOUND = "Bound"  # a pilot reported from its node, and makes it ready
    READY = "Ready"  # memory is reserved; VMs can be placed
    PREEMPTING = "Preempting"  # the LRM takes the node away; the grace period runs
    RELEASING = "Releasing"  # it is given back
    RELEASED = "Released"  # the pilot said that all is given back
    LOST = "Lost"  # it is gone and nobody said how it was left


class LrmSays(StrEnum):
    """What a listing says of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"  # being cancelled or cleaned up
    ENDED = "ended"
    GONE = "gone"  # not in the listing, which was complete
    UNKNOWN = "unknown"  # a state nobody knows, or no listing: ask again


class PilotSaid(StrEnum):
    """The kinds of reports that change a slot (``pilot/messages.py``)."""

    HELLO = "hello"
    READY = "ready"
    SIGNALLED = "signalled"
    RELEASING = "releasing"
    RELEASED = "released"
    FAILED = "failed"


_J, _L = JobState, LrmSays

JOB_NEXT: dict[JobState, dict[LrmSays, JobState]] = {
    # GONE of a job that was never listed is decided by time: a submit may still be on its way
    _J.REQUESTED: {
        _L.WAITING: _J.PENDING,
        _L.RUNNING: _J.STARTED,
        _L.ENDING: _J.ENDING,
        _L.ENDED: _J.LOST,
    },
    _J.PENDING: {
        _L.RUNNING: _J.STARTED,
        _L.ENDING: _J.ENDING,
        _L.ENDED: _J.LOST,
        _L.GONE: _J.LOST,
    },
    _J.STARTED: {
        _L.WAITING: _J.PENDING,  # it was requeued: its epoch grows
        _L.ENDING: _J.ENDING,
        _L.ENDED: _J.LOST,
        _L.GONE: _J.LOST,
    },
    _J.ENDING: {_L.ENDED: _J.ENDED, _L.GONE: _J.ENDED},
    _J.ENDED: {},
    _J.LOST: {},
}
"""What a listing makes of a job; what is not named leaves it as it is (UNKNOWN always does)."""

_S, _P = SlotState, PilotSaid

SLOT_NEXT: dict[SlotState, dict[PilotSaid, SlotState]] = {
    _S.UNBOUND: {_P.HELLO: _S.BOUND},
    _S.BOUND: {
        _P.READY: _S.READY,
        _P.SIGNALLED: _S.PREEMPTING,
        _P.RELEASING: _S.RELEASING,
        _P.RELEASED: _S.RELEASED,
        _P.FAILED: _S.RELEASING,
    },
    _S.READY: {
        _P.SIGNALLED: _S.PREEMPTING,
        _P.RELEASING: _S.RELEASING,
        _P.RELEASED: _S.RELEASED,
        _P.FAILED: _S.RELEASING,
    },
    _S.PREEMPTING: {_P.RELEASING: _S.RELEASING, _P.RELEASED: _S.RELEASED, _P.FAILED: _S.RELEASING},
    _S.RELEASING: {_P.RELEASED: _S.RELEASED},
    _S.RELEASED: {},
    _S.LOST: {_P.RELEASED: _S.RELEASED},  # a late word that all was given back after all
}
"""What a report makes of a slot; a report that is not named is written down and changes nothing."""

JOB_OVER: frozenset[JobState] = frozenset({JobState.ENDED, JobState.LOST})
SLOT_OVER: frozenset[SlotState] = frozenset({SlotState.RELEASED, SlotState.LOST})
SLOT_LIVE: frozenset[SlotState] = frozenset(
    {SlotState.BOUND, SlotState.READY, SlotState.PREEMPTING, SlotState.RELEASING}
)
