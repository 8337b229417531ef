"""Finds the parts of a signed message by where they stand, never by looking for an id or a name somewhere in it.

Attackers who wrap signatures move what was signed to where nobody looks and put their own where it is acted on. Here
both are one: the Body that is handed on, the headers that are read and the Timestamp that is believed are the elements
that must be signed, and a message in which anything else could be meant is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flyinglow.access.refusal import UnauthenticatedError
from flyinglow.wsrf.security.names import DS, ID, SECURITY, SIGNATURE, TIMESTAMP, TOKEN

if TYPE_CHECKING:
    from lxml.etree import _Element

_WSA: Final = "{http://www.w3.org/2005/08/addressing}"
_NEEDED: Final = ("To", "Action", "MessageID")
_PARTS: Final = {TOKEN: "BinarySecurityToken", TIMESTAMP: "Timestamp", SIGNATURE: "Signature"}
_IDS: Final = (ID, "{http://www.w3.org/XML/1998/namespace}id")
_DSIG: Final = f"{{{DS}}}"
_LONGEST: Final = 256


class SignatureError(UnauthenticatedError):
    """The message's signature does not prove who sent it; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A message's security header taken apart, and all that its signature must cover, by id."""

    token: _Element
    timestamp: _Element
    signature: _Element
    covered: dict[str, _Element]
    message_id: str
    to: str


def find(root: _Element, soap_ns: str) -> Signed | None:
    """Take a message apart; None when it has no security header. Raises SignatureError."""
    header, body = root.find(f"{{{soap_ns}}}Header"), root.find(f"{{{soap_ns}}}Body")
    blocks = [] if header is None else list(header)
    found = [block for block in blocks if block.tag == SECURITY]
    if not found or body is None:
        return None
    if len(found) > 1:
        raise SignatureError("the message has more than one header Security")
    parts = _parts(found[0])
    others = [block for block in blocks if block is not found[0]]
    texts = {name: _only(others, name) for name in _NEEDED}
    covered = {_id(each): each for each in (body, parts[TIMESTAMP], *others)}
    if len(covered) != len(others) + 2:
        raise SignatureError("two parts of the message have the same wsu:Id")
    _refuse_repeated(root)
    return Signed(
        token=parts[TOKEN],
        timestamp=parts[TIMESTAMP],
        signature=parts[SIGNATURE],
        covered=covered,
        message_id=texts["MessageID"],
        to=texts["To"],
    )


def _parts(security: _Element) -> dict[str, _Element]:
    parts = {str(part.tag): part for part in security}
    if len(parts) != len(security) or set(parts) != set(_PARTS):
        wanted = ", ".join(_PARTS.values())
        raise SignatureError(f"the header Security must hold exactly one each of {wanted}")
    return parts


def _only(headers: list[_Element], name: str) -> str:
    texts = [(each.text or "").strip() for each in headers if each.tag == _WSA + name]
    if len(texts) != 1 or not texts[0] or len(texts[0]) > _LONGEST:
        raise SignatureError(f"a signed message needs one header wsa:{name}, of at most {_LONGEST} characters")
    return texts[0]


def _id(element: _Element) -> str:
    found = element.get(ID)
    if not found:
        raise SignatureError("a header, the Body or the Timestamp has no wsu:Id, so it cannot be signed")
    return found


def _refuse_repeated(root: _Element) -> None:
    """Refuse two elements with one id, of the kinds that anything here resolves, wherever in the message."""
    seen: set[str] = set()
    for element in root.iter():
        kinds = (*_IDS, "Id") if str(element.tag).startswith(_DSIG) else _IDS
        for value in filter(None, map(element.get, kinds)):
            if value in seen:
                raise SignatureError("two elements of the message have the same id")
            seen.add(value)
