"""Signing policies: which subjects an authority may certify, as the ``.signing_policy`` file beside it says.

The syntax is Globus' (EACL): ``access_id_CA``, ``pos_rights`` and ``cond_subjects``, one each for an authority.
Subjects are patterns such as ``/C=DE/O=GermanGrid/*``; they are compared as structure, part by part, so a pattern's
slash never meets a slash inside a value.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyinglow.access import subjects
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.access.subjects import Subject


@dataclass(frozen=True, slots=True)
class Pattern:
    """A subject with ``*`` and ``?`` in its values; ``open_ended``: more parts may follow."""

    parts: Subject
    open_ended: bool

    def matches(self, subject: Subject) -> bool:
        """Say whether a subject fits."""
        wanted, given = self.parts.parts, subject.parts
        if len(given) < len(wanted) or (len(given) > len(wanted) and not self.open_ended):
            return False
        return all(_fits(part, other) for part, other in zip(wanted, given, strict=False))


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """What a file says: patterns by authority."""

    rules: tuple[tuple[Subject, tuple[Pattern, ...]], ...]

    def allows(self, authority: Subject, subject: Subject) -> bool:
        """Say whether the authority may certify the subject."""
        patterns = [each for name, granted in self.rules if name == authority for each in granted]
        return any(pattern.matches(subject) for pattern in patterns)


def parse(text: str) -> SigningPolicy:
    """Read a policy. Raises InvalidError, with the line, for what is no policy."""
    rules: list[tuple[Subject, tuple[Pattern, ...]]] = []
    authority: Subject | None = None
    signs = False
    for number, words in _lines(text):
        match words:
            case ["access_id_CA", "X509", name]:
                authority, signs = subjects.of_slashes(name), False
            case ["pos_rights", "globus", rights]:
                signs = "sign" in rights.lower()
            case ["neg_rights", *_]:
                signs = False
            case ["cond_subjects", "globus", *names]:
                if authority is not None and signs:
                    rules.append((authority, tuple(map(pattern, _names(names)))))
            case _:
                raise InvalidError(f"line {number} is none of a signing policy: {' '.join(words)[:80]}")
    return SigningPolicy(tuple(rules))


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise InvalidError(f"line {number} is none of a signing policy: {error}") from None
        if words:
            yield number, words


def _names(words: list[str]) -> list[str]:
    """Take several quoted subjects out of what the outer quotes hold: '"/O=A/*" "/O=B/*"'."""
    text = " ".join(words)
    return re.findall(r'"([^"]+)"', text) or words


def pattern(text: str) -> Pattern:
    """Read one pattern. Raises InvalidError."""
    if text == "*":
        return Pattern(subjects.Subject(()), open_ended=True)
    bare = text.removesuffix("/*")
    return Pattern(subjects.of_slashes(bare), open_ended=text.endswith("*"))


def _fits(wanted: frozenset[subjects.Attribute], given: frozenset[subjects.Attribute]) -> bool:
    if len(wanted) != len(given):
        return False
    ((oid, value),) = wanted
    ((other, text),) = given
    return oid == other and fnmatch.fnmatchcase(text, value.replace("[", "[[]"))
