"""Sealed messages out, authentic answers back: what every conversation with the service goes through."""

from __future__ import annotations

from typing import Any, Protocol

from flyinglow.nodectl.errors import DeniedError, InvalidError, TransientError, from_wire
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.messages import Answer, Message, answer, opened, signed, verify

_OK = 200
_OTHER_VERSION = 426
_SHOWN = 200  # bytes of an unsigned answer that are quoted


class Posts(Protocol):
    """A way to the service."""

    def post(self, data: bytes, seconds: float) -> tuple[int, bytes]:
        """Return status and body of the answer; raises TransientError."""

    def abandon(self) -> None:
        """Break off a wait."""


class Says(Protocol):
    """One conversation with the service; ``Line`` is one."""

    def say(self, message: Message, seconds: float) -> Answer:
        """Deliver a message and return its answer; raises as ``Line.say`` does."""

    def abandon(self) -> None:
        """Break off the present exchange."""


class VersionError(InvalidError):
    """The other side speaks another version; both are named."""


class RefusedError(DeniedError):
    """The service, by a signed answer, will have nothing to do with this pilot."""


class Line:
    """One conversation at a time."""

    def __init__(self, post: Posts, identity: Identity) -> None:
        self._post = post
        self._identity = identity

    def say(self, message: Message, seconds: float) -> Answer:
        """Deliver a message and return the answer to it.

        Raises TransientError when it must be tried again (no answer in time, or one that is not the service's),
        VersionError and RefusedError when that is of no use.
        """
        key = self._identity.key
        data, mac = signed(message, key)
        status, body = self._post.post(data, seconds)
        if status != _OK:
            raise self._unsigned(status, body)
        try:
            fields, text, theirs = opened(body)
            verify(key, text, theirs, mac)
        except (InvalidError, DeniedError) as error:
            raise TransientError(f"the answer to {message.kind.value} is not the service's: {error.message}") from error
        return _read(fields)

    def abandon(self) -> None:
        """Break off the present exchange; its message is tried again."""
        self._post.abandon()

    def _unsigned(self, status: int, body: bytes) -> Exception:
        said = body[:_SHOWN].decode(errors="replace")
        if status == _OTHER_VERSION and not self._identity.bound.is_set():
            return VersionError(f"the service speaks another version: {said}")
        return TransientError(f"the service answered with status {status}: {said}")


def _read(fields: dict[str, Any]) -> Answer:
    try:
        made = answer(fields)
    except InvalidError as error:
        raise VersionError(error.message) from error
    if made.error is not None:
        refusal = from_wire(str(made.error.get("kind")), str(made.error.get("message")))
        if refusal.retryable:
            raise TransientError(refusal.message)
        if "version" in refusal.message:
            raise VersionError(refusal.message)
        raise RefusedError(refusal.message)
    return made
