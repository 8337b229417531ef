"""The keys of ``[access]``, ``[policy.NAME]``, ``[rates]`` and ``[audit]``, and what is wrong with such tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flyinglow.access import consumers, subjects
from flyinglow.access.policy import Period, Policy, PolicyBook
from flyinglow.access.rates import Rate
from flyinglow.access.roles import Named, RoleBook
from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.configuration.keys import doc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flyinglow.server.configuration.settings import Config

GROUP = "group:"
_SPACED = re.compile(r"(?<!\\), +")  # as people write such names
SYNC = ("always", "second", "never")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who has which role, and whose policy is the default."""

    administrators: tuple[str, ...] = doc(
        "Who may do anything to everybody's: names of identities (CN=Alice,O=Grid or /O=Grid/CN=Alice), or group:NAME.",
        default=(),
    )
    observers: tuple[str, ...] = doc("Who may read everybody's, and change nothing; named alike.", default=())
    publishers: tuple[str, ...] = doc(
        "Services elsewhere whose notifications everybody's pull points take; named alike, by what they show over TLS.",
        default=(),
    )
    default_policy: str = doc(
        "The policy of those who have no other, where there are policies; none: they may lease nothing.", default=""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTerms:
    """What some may lease. Of several policies that are a caller's the most generous word of each key counts.

    A key that is not given is no limit. Names may have * and ? in them.
    """

    groups: tuple[str, ...] = doc("Groups whose members this is for.", default=())
    identities: tuple[str, ...] = doc("Single identities that this is for, too.", default=())
    offers: tuple[str, ...] | None = doc(
        "Of standard, preemptable, dedicated-cpus, numa, huge-pages and device.KIND, what they may have.", default=None
    )
    networks: tuple[str, ...] | None = doc("Networks that their NICs may be on.", default=None)
    images: tuple[str, ...] | None = doc("Images and partitions, by name or URI.", default=None)
    consumers: tuple[str, ...] | None = doc(
        "Of the hosts that [notification] allows, those that their ConsumerReferences may name: names, and networks "
        "(CIDR) for numeric addresses.",
        default=None,
    )
    running: int | None = doc("Workspaces that one of them may have at a time, waiting ones included.", default=None)
    cpus: int | None = doc("CPUs of all these together.", default=None)
    memory_mb: int | None = doc("Memory of all these together.", default=None)
    members: int | None = doc("Workspaces in one request.", default=None)
    duration: int | None = doc("The longest lease.", default=None)
    minutes: int | None = doc(
        "Minutes of workspaces, used and reserved, that one of them may have in a period.", default=None
    )
    period: str = doc("day or month, as the calendar has them in UTC.", default="month")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How many requests are taken of one caller. Who sends more is answered 429 with Retry-After, and loses nothing."""

    per_identity: float = doc("Requests a second of one identity, in the long run; 0: no limit.", default=100.0)
    identity_burst: int = doc("Requests of one identity at once.", default=500)
    per_address: float = doc(
        "Requests a second from one address that show no good credential; 0: no limit.", default=20.0
    )
    address_burst: int = doc("Such requests from one address at once.", default=100)
    local: bool = doc("Whether the one local caller of a listener that knows nobody is limited, too.", default=False)
    waiting: int = doc("Requests of one identity that may wait for a thread or an answer at a time.", default=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The log of who did what from where."""

    file: Path | None = doc("Its file; none: audit.log in state_dir. SIGHUP opens it anew.", default=None)
    sync: str = doc(
        "When what was written is forced to the disk: always (before the call is answered), second (once a second) or "
        "never (as the kernel sees fit).",
        default="second",
    )


def faults(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each key that cannot be, and why."""
    yield from _names(("access", "administrators"), config.access.administrators)
    yield from _names(("access", "observers"), config.access.observers)
    yield from _names(("access", "publishers"), config.access.publishers)
    if config.access.default_policy and config.access.default_policy not in config.policy:
        yield ("access", "default_policy"), f"there is no [policy.{config.access.default_policy}]"
    for name, terms in config.policy.items():
        for key, what in _policy(terms, config):
            yield ("policy", name, key), what
    for key in ("per_identity", "per_address"):
        if not getattr(config.rates, key) >= 0:
            yield ("rates", key), "is less than 0"
    for key in ("identity_burst", "address_burst", "waiting"):
        if getattr(config.rates, key) < 1:
            yield ("rates", key), "is less than 1"
    if config.audit.sync not in SYNC:
        yield ("audit", "sync"), f"{config.audit.sync!r} is not one of {', '.join(SYNC)}"


def _policy(terms: PolicyTerms, config: Config) -> Iterator[tuple[str, str]]:
    for key in ("running", "cpus", "memory_mb", "members", "duration", "minutes"):
        value = getattr(terms, key)
        if value is not None and value < 0:
            yield key, "is less than 0"
    if terms.period not in set(Period):
        yield "period", f"{terms.period!r} is not day or month"
    for network in terms.networks or ():
        if not set("*?[") & set(network) and network not in config.network:
            yield "networks", f"there is no [network.{network}]"
    for what in filter(None, map(consumers.fault, terms.consumers or ())):
        yield "consumers", what
    for _, what in _names((), terms.identities):
        yield "identities", what


def _names(path: tuple[str, ...], names: Iterable[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name in names:
        try:
            _identity(name)
        except InvalidError as error:
            yield path, error.message


def _identity(name: str) -> str:
    """Return an identity's name as callers have it; a certificate's may be in either form. Raises InvalidError."""
    if name.startswith("/"):
        return str(subjects.of_slashes(name))
    if not name:
        raise InvalidError("an empty name is nobody's")
    try:
        return str(subjects.of_commas(_SPACED.sub(",", name)))
    except InvalidError:
        return name  # a token's: its issuer and subject


def _named(names: Iterable[str]) -> Named:
    every = tuple(names)
    return Named(
        identities=frozenset(_identity(name) for name in every if not name.startswith(GROUP)),
        groups=frozenset(name.removeprefix(GROUP) for name in every if name.startswith(GROUP)),
    )


def publishers(access: Access) -> Named:
    """Return whose notifications pull points take."""
    return _named(access.publishers)


def roles(access: Access) -> RoleBook:
    """Return who has which role."""
    return RoleBook(administrators=_named(access.administrators), observers=_named(access.observers))


def policies(access: Access, tables: Mapping[str, PolicyTerms]) -> PolicyBook:
    """Return the policies that the configuration means."""
    return PolicyBook(
        policies={name: _meant(name, terms) for name, terms in tables.items()},
        groups={name: frozenset(terms.groups) for name, terms in tables.items()},
        identities={name: frozenset(map(_identity, terms.identities)) for name, terms in tables.items()},
        default=access.default_policy,
    )


def _meant(name: str, terms: PolicyTerms) -> Policy:
    return Policy(
        names=(name,),
        offers=terms.offers,
        networks=terms.networks,
        images=terms.images,
        consumers=terms.consumers,
        running=terms.running,
        cpus=terms.cpus,
        memory_mb=terms.memory_mb,
        members=terms.members,
        duration=terms.duration,
        minutes=terms.minutes,
        period=Period(terms.period),
    )


def rates(table: Rates) -> tuple[Rate, Rate]:
    """Return the rate of one identity, and that of one address without a good credential."""
    return Rate(table.per_identity, table.identity_burst), Rate(table.per_address, table.address_burst)
