"""Finds what is wrong with the table ``[backend.options]`` before anything is made of it: all of it, key by key.

The scheduler's terms are looked at by its adapter, policies and the second way of reports by those who carry them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm import adapters, policy
from flyinglow.backend.lrm.settings.options import WHERE, LrmOptions, wrong
from flyinglow.backend.lrm.settings.terms import name
from flyinglow.backend.options import Fault, read, refused, wrong_types
from flyinglow.nodectl.errors import InvalidError
from flyinglow.pilot.post import Address
from flyinglow.pilot.ssh import Ssh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SSH = frozenset({"address", "port", "user", "identity", "known_hosts", "command"})


def check(table: Mapping[str, Any]) -> list[Fault]:
    """Return every fault with its key's way from the table; where types are wrong, nothing beyond them."""
    faults = wrong_types(LrmOptions, table, WHERE)
    if faults:
        return faults
    made = read(LrmOptions, table, WHERE)
    return [*wrong(made), *_words(made), *_others(made)]


def _words(made: LrmOptions) -> Iterator[Fault]:
    """Return what stands in lists and tables that should not."""
    for key in ("extra", "agent"):
        if not all(isinstance(word, str) and word and word.isprintable() for word in getattr(made, key)):
            yield (key,), f"{key!r} must be a list of words: {list(getattr(made, key))}"
    if not made.agent:
        yield ("agent",), "'agent' must name the program that the pilot starts"
    for key in ("commands", "environment"):
        for word, value in getattr(made, key).items():
            if isinstance(value, bool) or not isinstance(value, str | int):
                yield (key, word), f"{word!r} of {key!r} must be text, not {value!r}"
    for network, bridge in made.networks.items():
        if bridge is not False and not isinstance(bridge, str):
            yield ("networks", network), f"{network!r} of 'networks' must be a bridge's name or false, not {bridge!r}"
    for word in sorted(set(made.ssh) - _SSH):
        yield ("ssh", word), f"'ssh' has the unknown key {word!r}; known are {', '.join(sorted(_SSH))}"


def _others(made: LrmOptions) -> Iterator[Fault]:
    """Return what they say who are told these options."""
    yield from refused(lambda: adapters.adapter(made))
    if made.reservation is not None:
        yield from refused(lambda: name(made.reservation or "", "reservation"))
        if (made.lrm, made.dialect) == ("pbs", "torque"):
            yield ("reservation",), "'reservation': Torque itself has no advance reservations"
    if made.lrm == "gridengine" and made.parallel_environment is None:
        fix = "with one slot a host; `qconf -spl` lists them"
        yield ("parallel_environment",), f"Grid Engine needs the name of a parallel environment {fix}"
    if made.policy not in policy.NAMES:
        yield from refused(lambda: policy.load(made.policy, {}), "policy")
    else:
        yield from refused(lambda: policy.load(made.policy, made.policy_options), "policy_options")
    if made.url is not None:
        yield from refused(lambda: _address(made.url or ""), "url")
    if made.ssh:
        yield from refused(lambda: Ssh(dict(made.ssh)), "ssh")
    for key in ("certificate", "spool"):
        if not (getattr(made, key) or "/").startswith("/"):
            yield (key,), f"{key!r} must be an absolute path, not {getattr(made, key)!r}"


def _address(url: str) -> None:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidError(f"{url!r} is no URL: it holds a space or a control character")
    Address(url)
