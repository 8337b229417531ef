"""``flyinglow deliveries``: what a subscription's consumer has taken, and having that sent again."""

from __future__ import annotations

import click

from flyinglow.cli import showing
from flyinglow.cli.exits import Exit
from flyinglow.cli.session import Session, options


@click.command()
@click.argument("subscription")
@click.option("--resend", metavar="NUMBER", type=click.IntRange(min=0), help="Deliver everything from NUMBER on again.")
@options
def deliveries(session: Session, *, subscription: str, resend: int | None) -> int:
    """Show what was delivered of SUBSCRIPTION, the address that Subscribe answered; the last deliveries only.

    --resend has what was delivered from a number on delivered again, in order, before all that waits.
    """
    found = session.site.subscription(subscription)
    if resend is not None:
        count = found.resend(resend)
        if session.json:
            session.answer({"messages": count})
        session.say(f"{count} message{'' if count == 1 else 's'} will be delivered again.")
        return Exit.OK
    for entry in found.log():
        if session.json:
            session.answer(showing.as_json(entry))
        tries = f"  after {entry.failures} failures" if entry.failures else ""
        what = f"{entry.kind:<9} {entry.name:<12} {entry.topic:<11} #{entry.sequence}"
        session.say(f"{entry.number:>8}  {showing.clock(entry.at)}  {what}{tries}")
    return Exit.OK
