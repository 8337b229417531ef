"""Names of certificates as structure: what is compared, and the one text that stands for each.

A name is a sequence of relative names, outermost first, each a set of (attribute type, value). Two subjects are the
same when these are; how a value was encoded (PrintableString or UTF8String) does not count, its case does. The text is
that of RFC 4514, whose escaping keeps two different names from having one text. The form ``/O=Grid/CN=Alice`` of
grid-mapfiles and signing policies is read here too; it cannot say every name, so it is never what is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509

from flyinglow.access import der
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator

Attribute = tuple[str, str]
"""An attribute's dotted object identifier and its value; one that is no text is NUL, ``#`` and hexadecimal digits."""

NAMES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
"""What an attribute type is called in the text; one that is not here goes by its number."""

_ALSO: Final = {"E": "EMAILADDRESS", "EMAIL": "EMAILADDRESS", "USERID": "UID", "S": "ST", "SURNAME": "SN"}
_RFC4514: Final = {name: x509.ObjectIdentifier(oid) for oid, name in NAMES.items()}
_TYPES: Final = {name.upper(): oid for oid, name in NAMES.items()}
COMMON_NAME: Final = "2.5.4.3"
_BYTES: Final = "\0#"
_SPECIAL: Final = frozenset('"+,;<>\\=#')


@dataclass(frozen=True, slots=True)
class Subject:
    """One name, outermost part first."""

    parts: tuple[frozenset[Attribute], ...]

    def __str__(self) -> str:
        """Return the name as RFC 4514 writes it: innermost part first."""
        return ",".join("+".join(map(_written, sorted(part))) for part in reversed(self.parts))

    @property
    def parent(self) -> Subject:
        """The name without its innermost part."""
        return Subject(self.parts[:-1])

    @property
    def common_name(self) -> str | None:
        """The innermost part's value if that part is one CN and nothing else."""
        if not self.parts or len(self.parts[-1]) != 1:
            return None
        ((oid, value),) = self.parts[-1]
        return value if oid == COMMON_NAME else None


def of(name: x509.Name) -> Subject:
    """Return the structure of a certificate's name. Raises InvalidError for a NUL in it, which no honest one has."""
    return Subject(
        tuple(frozenset((each.oid.dotted_string, _value(each.value)) for each in part) for part in name.rdns)
    )


def _value(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return f"{_BYTES}{value.hex()}"
    if "\0" in value:  # which also keeps a text from being taken for bytes
        raise InvalidError("the name in a certificate has a NUL in it")
    return value


def _written(attribute: Attribute) -> str:
    oid, value = attribute
    name = NAMES.get(oid)
    if value.startswith(_BYTES):
        return f"{name or oid}={value[1:]}"
    if name is None:
        return f"{oid}=#{der.encoded(der.UTF8_STRING, value.encode()).hex()}"
    return f"{name}={_escaped(value)}"


def _escaped(value: str) -> str:
    return "".join(_letters(value))


def _letters(value: str) -> Iterator[str]:
    last = len(value) - 1
    for place, letter in enumerate(value):
        if letter < " " or letter == "\x7f":
            yield "".join(f"\\{byte:02x}" for byte in letter.encode())
        elif letter in _SPECIAL or (letter == " " and place in {0, last}):
            yield "\\" + letter
        else:
            yield letter


def of_slashes(text: str) -> Subject:
    r"""Read a name as Globus writes it: ``/O=Grid/CN=host/a.example``.

    A piece without ``=`` belongs to the value before it. ``\x2f``, ``\/`` and ``\\`` stand for letters that do not
    part the name. Raises InvalidError.
    """
    if not text.startswith("/"):
        raise InvalidError(f"{text!r} is no name: it does not begin with /")
    pieces: list[list[str]] = []
    for piece in _pieces(text[1:]):
        head, equals, _ = piece.partition("=")
        if equals and (not pieces or _is_type(head)):
            pieces.append([piece])
        elif pieces:
            pieces[-1].append(piece)
        else:
            raise InvalidError(f"{text!r} is no name: {piece!r} has no =")
    return Subject(tuple(frozenset({_attribute("/".join(piece), text)}) for piece in pieces))


def of_commas(text: str) -> Subject:
    """Read a name as RFC 4514 writes it, innermost part first; only attributes with a name. Raises InvalidError."""
    try:
        found = of(x509.Name.from_rfc4514_string(text, _RFC4514))
    except ValueError as error:
        raise InvalidError(f"{text!r} is no name: {error}") from None
    if any(oid not in NAMES for part in found.parts for oid, _ in part):
        raise InvalidError(f"{text!r} has an attribute without a name; write it as /1.2.3=value")
    return found


def _pieces(text: str) -> Iterator[str]:
    """Part at each slash that is not escaped, and take the escapes away."""
    piece: list[str] = []
    letters = iter(range(len(text)))
    for place in letters:
        if text[place] == "/":
            yield "".join(piece)
            piece = []
        elif text[place] == "\\" and place + 1 < len(text):
            size, letter = _unescaped(text, place)
            piece.append(letter)
            for _ in range(size - 1):
                next(letters)
        else:
            piece.append(text[place])
    yield "".join(piece)


def _unescaped(text: str, place: int) -> tuple[int, str]:
    """Return how many letters an escape has, and what it stands for."""
    if text[place + 1] == "x":
        raw, end = bytearray(), place
        while text[end : end + 2] == "\\x" and len(text[end + 2 : end + 4]) == 2:  # noqa: PLR2004 - two digits
            try:
                raw += bytes.fromhex(text[end + 2 : end + 4])
            except ValueError:
                raise InvalidError(f"{text!r} is no name: \\x wants two hexadecimal digits") from None
            end += 4
        if raw:
            return end - place, raw.decode(errors="replace")
    return 2, text[place + 1]


def _is_type(word: str) -> bool:
    return _oid(word) is not None


def _oid(word: str) -> str | None:
    upper = word.strip().upper()
    upper = _ALSO.get(upper, upper)
    if upper in _TYPES:
        return _TYPES[upper]
    numbers = upper.removeprefix("OID.").split(".")
    return ".".join(numbers) if len(numbers) > 1 and all(each.isdigit() for each in numbers) else None


def _attribute(piece: str, text: str) -> Attribute:
    head, _, value = piece.partition("=")
    oid = _oid(head)
    if oid is None:
        raise InvalidError(f"{text!r} is no name: {head!r} is no type of attribute")
    return oid, value
