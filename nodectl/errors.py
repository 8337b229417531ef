"""The one error tree of Flying Low, split by what the caller can do about it.

It stands in the lowest layer so that every part, down to the program on a node, can raise and catch the same
errors. A message names what failed, whose side it is on and what to do; ``kind`` is the word that travels on a wire.

    FlyingLowError
    ├── InvalidError      the request is wrong: change it
    ├── DeniedError       policy forbids it: ask the site
    ├── ExhaustedError    not now: retry later
    ├── NeverError        no state of this site can satisfy it: ask for less
    ├── UnknownError      no such resource (or not yours: the two look alike)
    ├── ConflictError     the resource is in a state that does not allow it
    ├── TransientError    something failed that may work when tried again
    └── BrokenError       something is broken and needs a person
"""

from __future__ import annotations

from typing import ClassVar


class FlyingLowError(Exception):
    """Base of every error this project raises on purpose.

    ``figures`` holds the numbers behind the message (for example ``{"memory_mb.asked": 4096, "memory_mb.free": 512}``).
    """

    kind: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, figures: dict[str, int] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.figures = dict(figures or {})
        self.incident: str | None = None  # by which the service's operator finds it; set where it came over a wire


class InvalidError(FlyingLowError):
    """The request itself is wrong; the same request will fail again."""

    kind = "invalid"


class DeniedError(FlyingLowError):
    """The site's policy forbids this to the caller."""

    kind = "denied"


class ExhaustedError(FlyingLowError):
    """The site cannot do it now, but could at another time."""

    kind = "exhausted"
    retryable = True


class NeverError(FlyingLowError):
    """No state of this site can satisfy the request."""

    kind = "never"


class UnknownError(FlyingLowError):
    """There is no such resource, or it is not the caller's."""

    kind = "unknown"


class ConflictError(FlyingLowError):
    """The resource is in a state that does not allow the operation."""

    kind = "conflict"


class TransientError(FlyingLowError):
    """Something failed that may work when it is tried again."""

    kind = "transient"
    retryable = True


class BrokenError(FlyingLowError):
    """Something is broken and needs a person to look at it."""

    kind = "broken"


KINDS: dict[str, type[FlyingLowError]] = {
    cls.kind: cls
    for cls in (
        InvalidError,
        DeniedError,
        ExhaustedError,
        NeverError,
        UnknownError,
        ConflictError,
        TransientError,
        BrokenError,
    )
}


def from_wire(kind: str, message: str, figures: dict[str, int] | None = None) -> FlyingLowError:
    """Return the error that ``kind`` names; an unknown word becomes a BrokenError that says so."""
    cls = KINDS.get(kind)
    if cls is None:
        return BrokenError(f"{message} (reported with the unknown error kind {kind!r})", figures)
    return cls(message, figures)
