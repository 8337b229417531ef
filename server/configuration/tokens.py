"""The keys of ``[issuer.NAME]``: whose bearer tokens are taken, and what is wrong with such a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flyinglow.access.token_keys import ALGORITHMS
from flyinglow.server.configuration.keys import doc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuer:
    """An issuer of tokens (OpenID Connect) by which callers are known, over TLS or from this machine only."""

    url: str = doc("Its identifier: the claim iss of its tokens, letter by letter.")
    audience: str = doc("What the claim aud must hold: the name by which the issuer knows this service.")
    algorithms: tuple[str, ...] = doc(
        "Algorithms that its tokens may be signed with; none with a shared secret is possible.",
        default=("RS256", "ES256"),
    )
    keys_url: str = doc("Where its public keys are (a JSON Web Key Set, by https).", default="")
    keys_file: Path | None = doc(
        "A file with its public keys instead, which is read again when it changes.", default=None
    )
    ca_file: Path | None = doc(
        "Authorities (PEM) that keys_url is trusted by; none: those of the machine.", default=None
    )
    refresh: float = doc("Seconds after which its keys are fetched again.", default=3600.0)
    groups_claim: str = doc("The claim with the list of the caller's groups.", default="groups")
    group_prefix: str | None = doc(
        "What is put before each of these, to tell them from others' groups. Must be given where groups come from "
        'elsewhere, too (mapfile, voms_directory, another issuer); "" lets the issuer name those.',
        default=None,
    )
    maximum_life: float = doc(
        "The longest life of a token, in seconds; one made for longer is refused.", default=86400.0
    )


def faults(issuers: Mapping[str, TokenIssuer], others: Collection[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each key that cannot be, and why; ``others`` are the other sources of groups."""
    seen: dict[str, str] = {}
    for name, issuer in issuers.items():
        for key, what in _faults(issuer):
            yield ("issuer", name, key), what
        if issuer.url in seen:
            yield ("issuer", name, "url"), f"is the url of [issuer.{seen[issuer.url]}], too"
        seen[issuer.url] = name
        if what := _shared(name, issuers, others):
            yield ("issuer", name, "group_prefix"), what


def _shared(name: str, issuers: Mapping[str, TokenIssuer], others: Collection[str]) -> str:
    """Say by what an issuer could name the groups of others although nobody has said that it may."""
    own = issuers[name].group_prefix
    elsewhere = [*others, *(f"[issuer.{other}]" for other in issuers if other != name)]
    if own is None and elsewhere:
        return (
            f"is needed, for groups come from {', '.join(elsewhere)}, too: say {name + ':'!r}, and use it in policies; "
            'or "" if this issuer may name any group'
        )
    if own and own.startswith("/") and "voms_directory" in others:
        return "begins with /, as the attributes of VOMS servers do"
    for other, issuer in issuers.items():
        if own and issuer.group_prefix and issuer.group_prefix != own and issuer.group_prefix.startswith(own):
            return f"begins that of [issuer.{other}], whose groups this issuer could name"
    return ""


def _faults(issuer: TokenIssuer) -> Iterator[tuple[str, str]]:
    if not _is_https(issuer.url):
        yield "url", f"{issuer.url!r} is not an https URL without query and fragment"
    if not issuer.audience:
        yield "audience", "is empty, so a token for any other service would do"
    for algorithm in issuer.algorithms:
        if algorithm not in ALGORITHMS:
            yield "algorithms", f"{algorithm!r} is not one of {', '.join(sorted(ALGORITHMS))}"
    if not issuer.algorithms:
        yield "algorithms", "is empty"
    if bool(issuer.keys_url) == (issuer.keys_file is not None):
        yield "keys_url", "either keys_url or keys_file is needed"
    elif issuer.keys_url and not _is_https(issuer.keys_url, query=True):
        yield "keys_url", f"{issuer.keys_url!r} is not an https URL"
    if not issuer.refresh >= 1:
        yield "refresh", "is less than 1"
    if not issuer.maximum_life > 0:
        yield "maximum_life", "is not more than 0"


def _is_https(url: str, *, query: bool = False) -> bool:
    try:
        parts = urlsplit(url)
        fine = parts.scheme == "https" and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False
    return fine and "#" not in url and (query or "?" not in url) and url.isascii() and url.isprintable()
