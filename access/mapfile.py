r"""The grid-mapfile: which names a certificate's subject has at this site. Here they are groups that it belongs to.

One entry a line: a subject as Globus writes it, in quotes where it has spaces, then names parted by commas::

    # the physics group
    "/O=Grid/CN=Alice Liddell" alice,physics
    "/atlas/Role=pilot" pilots

In quotes, ``\"``, ``\\`` and ``\xHH`` stand for single letters; an escaped slash does not part a subject. A subject may
also be written as RFC 4514 has it. What follows the names after a space and ``#`` is a comment. An entry whose first
part has no ``=`` is an attribute of a VOMS server: whoever has it, or with ``/*`` at its end one below it, belongs to
those groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flyinglow.access import subjects
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flyinglow.access.subjects import Subject

_ENTRY: Final = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^\s"]\S*))(?:\s+(\S.*))?')
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_ROLE_NULL: Final = re.compile(r"/(?:Role|Capability)=NULL(?=/|$)")


@dataclass(slots=True)
class Mapfile:
    """What a grid-mapfile says."""

    names: dict[Subject, frozenset[str]] = field(default_factory=dict)
    attributes: dict[str, frozenset[str]] = field(default_factory=dict)

    def __contains__(self, subject: Subject) -> bool:
        """Say whether a subject has an entry."""
        return subject in self.names

    def groups(self, subject: Subject, attributes: Iterable[str] = ()) -> frozenset[str]:
        """Return the groups of a subject that has these VOMS attributes."""
        found = set(self.names.get(subject, ()))
        for attribute in attributes:
            for wanted, names in self.attributes.items():
                if attribute == wanted or (wanted.endswith("/*") and f"{attribute}/".startswith(wanted[:-1])):
                    found |= names
        return frozenset(found)


def plain_attribute(fqan: str) -> str:
    """Return a VOMS attribute without the roles and capabilities that are none."""
    return _ROLE_NULL.sub("", fqan)


def parse(text: str) -> Mapfile:
    """Read a grid-mapfile. Raises InvalidError that names each faulty line: one fault, and none of it is taken."""
    found, faults = Mapfile(), []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        try:
            _enter(found, bare)
        except InvalidError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        raise InvalidError("; ".join(faults[:10]))
    return found


def _enter(found: Mapfile, line: str) -> None:
    match = _ENTRY.fullmatch(line)
    if match is None:
        raise InvalidError("a quote is not closed, or nothing parts the subject from its names")
    quoted, bare, rest = match.groups()
    subject = bare if quoted is None else quoted.replace('\\"', '"')
    names = _names(_COMMENT.sub("", rest or ""))
    if _is_attribute(subject):
        key = plain_attribute(subject)
        if "*" in key.removesuffix("/*"):
            raise InvalidError(f"{subject!r} is no attribute: a * stands for one only after the last slash")
        found.attributes[key] = found.attributes.get(key, frozenset()) | names
        return
    parsed = subjects.of_slashes(subject) if subject.startswith("/") else subjects.of_commas(subject)
    found.names[parsed] = found.names.get(parsed, frozenset()) | names


def _names(text: str) -> frozenset[str]:
    names = [each.strip().lstrip(".") for each in text.split(",")] if text.strip() else []
    if not names:
        raise InvalidError("no name follows the subject")
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidError(f"{name!r} is no name: letters, digits and . _ - @ only")
    return frozenset(names)


def _is_attribute(subject: str) -> bool:
    return subject.startswith("/") and "=" not in subject[1:].partition("/")[0]
