"""``flyinglow console``: what a guest says."""

from __future__ import annotations

import base64
import codecs
import sys
import time
from typing import TYPE_CHECKING

import click

from flyinglow.cli import showing
from flyinglow.cli.addressing import find
from flyinglow.cli.plain import plain_page
from flyinglow.cli.session import Session, options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.client import Console, Resource

_EVERY = 0.5


@click.command()
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="First byte wanted.")
@click.option("--raw", is_flag=True, help="Let control characters of the guest through to the terminal.")
@options
def console(session: Session, *, name: str, follow: bool, offset: int, raw: bool) -> None:
    """Print what the guest of the workspace NAME has said on its console.

    Control characters are written out, for a guest must not steer your terminal; --raw lets them through.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in _pieces(find(session.site, name), offset, follow=follow):
        if session.json:
            data = base64.b64encode(piece.data).decode()
            session.answer({**showing.as_json(piece), "data": data, "text": piece.data.decode(errors="replace")})
        elif raw:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
        else:
            click.echo(plain_page(decoder.decode(piece.data)), nl=False)


def _pieces(resource: Resource, offset: int, *, follow: bool) -> Iterator[Console]:
    while True:
        piece = resource.console(offset)
        if piece.data:
            yield piece
        offset = piece.offset + len(piece.data)
        if piece.data and offset < piece.size:
            continue
        if not follow:
            return
        time.sleep(_EVERY)
