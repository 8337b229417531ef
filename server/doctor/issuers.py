"""What the doctor sees of token issuers: whether their keys can be had and are of use, and whose groups are whose."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from flyinglow.access import token_keys
from flyinglow.access.tokens import SKEW
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.server.callers.token_sources import reader
from flyinglow.server.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.configuration.tokens import TokenIssuer


def examine(config: Config) -> Iterator[Finding]:
    """Fetch or read the keys of each issuer, as serve does; blocks, for some seconds each at most."""
    for name, issuer in sorted(config.issuer.items()):
        yield _keys(name, issuer)
    if found := _groups(config):
        yield found


def _keys(name: str, issuer: TokenIssuer) -> Finding:
    what, where = f"issuer {name}", issuer.keys_url or str(issuer.keys_file)
    dates: list[str] = []
    try:
        keys = token_keys.read(reader(issuer, dates.append)())
    except FlyingLowError as error:
        fix = f"see that the keys can be read there, and that [issuer.{name}] ca_file knows the server's authority"
        return Finding(what, ok=False, detail=error.message, fix=fix)
    useful = keys.algorithms & set(issuer.algorithms)
    detail = f"{where} has {len(keys)} keys, for {', '.join(sorted(keys.algorithms)) or 'nothing known here'}"
    if abs(off := _off(dates)) > SKEW:
        detail += f"; its clock is {off:+.0f} s off ours"
        fix = f"set the clocks right, here or there: tokens are taken {SKEW:.0f} s around their time only"
        return Finding(what, ok=False, detail=detail, fix=fix)
    fix = f"allow in [issuer.{name}] algorithms what its tokens are signed with"
    return Finding(what, ok=bool(useful), detail=detail, fix=fix)


def _off(dates: Iterable[str]) -> float:
    """Return the seconds by which an issuer is ahead of us, by the date that its answer bears; 0.0 if it bears none."""
    for date in dates:
        try:
            return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):  # none, or one without its zone
            continue
    return 0.0


def _groups(config: Config) -> Finding | None:
    """Say which issuers may name any group, where there are other sources of groups: the site has said so."""
    bare = [f"[issuer.{name}]" for name, issuer in sorted(config.issuer.items()) if not issuer.group_prefix]
    others = config.listen.client.group_sources
    if not bare or len(config.issuer) + len(others) < 2:  # noqa: PLR2004 # one source alone names what it likes
        return None
    detail = f"{', '.join(bare)} may put callers into any group, those of {', '.join(others) or 'other issuers'}, too"
    return Finding("groups", ok=True, detail=detail)
