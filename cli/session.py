"""What every client command shares: its options, the site it speaks to, and how it answers."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import click

from flyinglow.cli import preferences
from flyinglow.cli.credentials import Shown
from flyinglow.cli.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flyinglow.cli.preferences import Preferences
    from flyinglow.client import Entry, Estimate, Lease, Offers, PullPoint, Resource, Subscription, Valid
    from flyinglow.client.access import Quota


class Telling(Protocol):
    """What the commands need of a site to hear what happens (``flyinglow.client.Site`` is one)."""

    def pull_point(self) -> PullPoint:
        """Make a place where notifications wait until they are fetched."""

    def subscription(self, url: str) -> Subscription:
        """Return a subscription."""


class Limiting(Protocol):
    """What the commands need of a site to say what one may lease (``flyinglow.client.Site`` is one)."""

    def quota(self) -> Quota | None:
        """Return what one's policies allow, and what of it is used."""


class Leasing(Telling, Limiting, Protocol):
    """What the commands need of a site (``flyinglow.client.Site`` is one)."""

    url: str

    def offers(self) -> Offers:
        """Return what the site offers."""

    @property
    def create(self) -> Callable[..., Lease]:
        """Ask for a lease; takes what ``flyinglow.client.Site.create`` takes."""

    @property
    def validate(self) -> Callable[..., Valid]:
        """Say what ``create`` would do; takes the same."""

    @property
    def estimate(self) -> Callable[..., Estimate]:
        """Say when ``create`` would start; takes the same."""

    def list(self, kind: str | None = None, state: str | None = None, *, everybody: bool = False) -> Iterator[Entry]:
        """Yield what the caller leases, or everybody."""

    def resource(self, reference: Any) -> Resource:
        """Return a handle."""


def _connect(chosen: Preferences) -> Leasing:
    from flyinglow.client import connect

    return connect(chosen.service, timeout=chosen.timeout, credential=chosen.credential)


@dataclass(slots=True)
class Session:
    """One run of a command. ``connect`` is handed in so that tests can put another site in the service's place."""

    connect: Callable[[Preferences], Leasing] = _connect
    service: str | None = None
    shown: Shown = field(default_factory=Shown)
    json: bool = False
    leasing: bool = False  # a command that speaks to a service, so that advice about leases is of use
    _site: Leasing | None = field(default=None, repr=False)

    @property
    def site(self) -> Leasing:
        """The site; connects when first asked for."""
        if self._site is None:
            self._site = self.connect(preferences.load(self.service, self.shown))
        return self._site

    def answer(self, value: Any) -> None:
        """Write an answer as JSON, on one line; whatever JSON does not know is written as text."""
        click.echo(json.dumps(value, default=str))

    def say(self, text: str) -> None:
        """Write a line for a person; not when JSON is asked for."""
        if not self.json:
            click.echo(plain(text))

    def table(self, headings: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> None:
        """Write a table for a person."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headings, title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
        for row in rows:
            table.add_row(*(Text("-" if cell in {None, ""} else plain(cell)) for cell in row))
        screen = Console(soft_wrap=False, highlight=False)
        if not screen.is_terminal:
            screen.width = 200  # nothing is cut off in a file or a pipe
        screen.print(table)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--service`` and ``--json``, and the session as its first argument."""

    @click.option("--service", metavar="URL", help="The service (also FLYINGLOW_SERVICE, client.toml).")
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @functools.wraps(command)
    def wrapped(*, service: str | None, as_json: bool, **rest: Any) -> Any:
        session = click.get_current_context().ensure_object(Session)
        session.service = service or session.service
        session.json = as_json or session.json
        session.leasing = True
        return command(session, **rest)

    return wrapped
