"""Finds the resource that a word on the command line means: a name, an id or its beginning, a URL, WHOLE/MEMBER."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import InvalidError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.cli.session import Leasing
    from flyinglow.client import Entry, Resource

_OVER: Final = frozenset({"Ended", "Corrupted", "Cancelled"})
_SHORTEST: Final = 4
"""Letters that the beginning of an id must have at least."""


class AmbiguousError(InvalidError):
    """A word could mean several resources."""

    hint = "say which one by its id or the beginning of it, as `flyinglow list` shows them"


def find(site: Leasing, word: str) -> Resource:
    """Return the one resource that ``word`` means.

    Living ones go before those that are over. Raises UnknownError when there is none, and AmbiguousError naming the
    candidates when there are several.
    """
    if "://" in word:
        return site.resource(word)
    whole, slash, member = word.partition("/")
    found = _entry(site, whole).resource
    return _member(found, whole, member) if slash else found


def _entry(site: Leasing, word: str) -> Entry:
    entries = list(site.list())
    for matches in (_named(entries, word), _with_id(entries, word)):
        if matches:
            return _only(matches, word)
    raise UnknownError(f"nothing that you lease from {site.url} is called {word!r} or has an id that begins so")


def _named(entries: Sequence[Entry], word: str) -> list[Entry]:
    return [entry for entry in entries if entry.name == word]


def _with_id(entries: Sequence[Entry], word: str) -> list[Entry]:
    if len(word) < _SHORTEST:
        return []
    return [entry for entry in entries if entry.resource.id.startswith(word)]


def _only(matches: Sequence[Entry], word: str) -> Entry:
    living = [entry for entry in matches if entry.state not in _OVER]
    if len(living) == 1 or len(matches) == 1:
        return (living or list(matches))[0]
    said = "; ".join(f"{entry.kind} {entry.name} {entry.resource.id} ({entry.state})" for entry in living or matches)
    raise AmbiguousError(f"{word!r} may mean several: {said}")


def _member(whole: Resource, name: str, member: str) -> Resource:
    members = {each.name: each.resource for each in whole.properties().members}
    if member not in members:
        raise UnknownError(f"{name} has no member {member!r}; it has {', '.join(members) or 'none'}")
    return members[member]
