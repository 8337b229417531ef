"""Checks what a site's configuration says for every job: nothing in it can be an option, a line or a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.backend.options import OptionError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import SiteTerms

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+,-]{0,127}")
_PATH = re.compile(r"/[A-Za-z0-9_.+@/-]*")
_PROGRAM = re.compile(r"/[A-Za-z0-9_.+@/-]*|[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXTRA = re.compile(r"[^\x00-\x20\x7f;`$<>\"'\\]+")  # a constraint may hold & and |, which no shell ever sees
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_TAG = re.compile(r"[a-z][a-z0-9]{0,31}")


def checked(terms: SiteTerms) -> SiteTerms:
    """Return the same terms. Raises OptionError naming what is not allowed in which key."""
    for key in ("queue", "account", "parallel_environment"):
        if (value := getattr(terms, key)) is not None:
            name(value, key)
    for key in ("interpreter", "directory", "shared_directory"):
        if (value := getattr(terms, key)) is not None:
            _match(_PATH, value, key)
    for word in terms.extra:
        _match(_EXTRA, word, "extra")
    for command, program in terms.commands.items():
        _match(_PROGRAM, program, "commands", command)
    for variable, value in terms.environment.items():
        _match(_VARIABLE, variable, "environment")
        if _UNPRINTABLE.search(value):
            raise OptionError(f"the environment's {variable!r} holds a control character", "environment", variable)
    return terms


def name(value: str, key: str) -> str:
    """Return a name of the LRM's, such as a queue's. Raises InvalidError when it could be anything else."""
    return _match(NAME, value, key)


def job_name(tag: str) -> str:
    """Return the job's name for a tag. Raises InvalidError for what is not a tag."""
    return f"fl-{_match(_TAG, tag, 'tag')}"


def tag_of(job: str) -> str | None:
    """Return the tag in a job's name, or None when the job is not one of ours."""
    rest = job.removeprefix("fl-")
    return rest if rest != job and _TAG.fullmatch(rest) else None


def _match(pattern: re.Pattern[str], value: str, key: str, *within: str) -> str:
    if not pattern.fullmatch(value):
        raise OptionError(f"{value!r} cannot be a {key} of the batch scheduler", key, *within)
    return value
