"""Checks the further words of a submit command whose options are followed by their values as words of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.backend.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


KEY = "extra"


def extra_pairs(words: Sequence[str], allowed: Collection[str], command: str) -> None:
    """Make sure that the words are options with one value each. Raises OptionError naming the one that is not.

    A word too many would be taken for the job's script, and some options would make another job of it.
    """
    if len(words) % 2:
        raise OptionError(f"'extra' must be pairs of words for {command}, an option and its value: {list(words)}", KEY)
    for option, value in zip(words[::2], words[1::2], strict=True):
        if option not in allowed:
            raise OptionError(
                f"{option!r} cannot be an 'extra' option of {command} here; {', '.join(sorted(allowed))} can", KEY
            )
        if value.startswith("-"):
            raise OptionError(f"{value!r} cannot be the value of {command}'s 'extra' option {option} here", KEY)
