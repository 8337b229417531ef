"""The exit codes, and what each kind of error tells the user: whose side it is on, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Exit(IntEnum):
    """What the command ends with."""

    OK = 0
    BROKEN = 1
    INVALID = 2
    UNKNOWN = 3
    CONFLICT = 4
    DENIED = 5
    NOT_NOW = 6
    NEVER = 7
    TRANSIENT = 8
    LEASE_FAILED = 9
    TIMED_OUT = 10
    DETACHED = 130


@dataclass(frozen=True, slots=True)
class Advice:
    """An error kind's exit code, what it means, whose side it is on, and what to do."""

    code: Exit
    meaning: str
    side: str = ""
    next: str = ""


TABLE: Final[Mapping[str, Advice]] = MappingProxyType(
    {
        "ok": Advice(Exit.OK, "it was done"),
        "broken": Advice(
            Exit.BROKEN,
            "something is broken and needs a person",
            "the service's side",
            "tell the site's operator, with the incident id when there is one",
        ),
        "invalid": Advice(
            Exit.INVALID,
            "the command line or the request is wrong",
            "your side",
            "change the request; `flyinglow offers` shows what there is",
        ),
        "unknown": Advice(
            Exit.UNKNOWN, "there is no such resource, or it is not yours", "your side", "`flyinglow list` shows yours"
        ),
        "conflict": Advice(
            Exit.CONFLICT,
            "the resource is in a state that does not allow it",
            "your side",
            "`flyinglow show NAME` says which state it is in",
        ),
        "denied": Advice(Exit.DENIED, "the site's policy forbids it", "the site's policy", "ask the site"),
        "exhausted": Advice(
            Exit.NOT_NOW,
            "not now: the site has no room",
            "the site's load",
            "try later; `flyinglow offers` shows what is free",
        ),
        "never": Advice(
            Exit.NEVER,
            "no state of this site can satisfy it",
            "your side",
            "ask for less; `flyinglow offers` shows the limits",
        ),
        "transient": Advice(
            Exit.TRANSIENT,
            "something failed that may work when tried again",
            "between you and the service",
            "try again",
        ),
        "lease failed": Advice(
            Exit.LEASE_FAILED,
            "the lease ended instead of getting where it was awaited",
            "the site's side",
            "`flyinglow show NAME` says more; create it again",
        ),
        "timed out": Advice(
            Exit.TIMED_OUT, "it took longer than --timeout", "", "the lease goes on; `flyinglow wait NAME` waits again"
        ),
        "detached": Advice(Exit.DETACHED, "stopped by Ctrl-C; leases go on"),
    },
)
"""By the kind of the error (``FlyingLowError.kind``), and three of the command's own."""


class UnconfirmedError(TimeoutError):
    """A lease is destroyed, and its nodes did not say in time that nothing is left of it."""


_UNCONFIRMED: Final = replace(
    TABLE["timed out"],
    side="the site's side",
    next="nothing: the site goes on cleaning up until its nodes have confirmed; its operator sees why they do not",
)


def advice(error: BaseException) -> Advice:
    """Return the advice for an error."""
    if isinstance(error, UnconfirmedError):
        return _UNCONFIRMED
    if isinstance(error, FlyingLowError):
        return TABLE.get(error.kind, TABLE["broken"])
    return TABLE["timed out"] if isinstance(error, TimeoutError) else TABLE["broken"]
