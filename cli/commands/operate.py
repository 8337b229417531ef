"""The commands that change something: start, shutdown, pause, resume, reboot, extend, rename, end-action and so on."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from flyinglow.cli import showing
from flyinglow.cli.addressing import find
from flyinglow.cli.durations import Duration, words
from flyinglow.cli.exits import Exit, UnconfirmedError, advice
from flyinglow.cli.plain import plain
from flyinglow.cli.session import Session, options
from flyinglow.nodectl.errors import FlyingLowError, InvalidError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyinglow.cli.session import Telling
    from flyinglow.client import Resource, Result

_CONFIRMED = 60.0
_SOON = 0.5  # seconds until it is asked again, should the service let nobody wait


def _operation(name: str, act: Callable[[Resource], list[Result]], text: str) -> click.Command:
    """Make a command that does ``act`` to everything named."""

    def command(session: Session, *, names: tuple[str, ...]) -> int:
        return _each(session, names, act)

    command.__doc__ = text
    named = click.argument("names", metavar="NAME...", nargs=-1, required=True)
    return click.command(name)(named(options(command)))


def _each(session: Session, names: Sequence[str], act: Callable[[Resource], list[Result]]) -> int:
    resources = [(word, find(session.site, word)) for word in names]  # all are found before anything is done
    outcomes, code = [], Exit.OK
    for word, resource in resources:
        results = act(resource)
        failed = [result.error for result in results if result.error is not None]
        code = code or (advice(failed[0]).code if failed else Exit.OK)
        outcomes.append({"name": word, **showing.as_json(resource), "results": showing.as_json(results)})
        for result in results:
            session.say(showing.outcome(result))
        if not results:
            session.say(f"{word}: done as told")
    if session.json:
        session.answer(outcomes)
    return code


start = _operation("start", lambda it: it.start(), "Start what is shut down, or what is paused.")
pause = _operation("pause", lambda it: it.pause(), "Stop executing; memory and the lease are kept.")
resume = _operation("resume", lambda it: it.resume(), "Go on after a pause.")
reboot = _operation("reboot", lambda it: it.reboot(), "Start the guest anew.")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--trash", is_flag=True, help="End the lease, too; its properties stay readable for a while.")
@click.option("--save", metavar="URI", help="Send a copy of its disk there; {name} is each one's name.")
@options
def shutdown(session: Session, *, names: tuple[str, ...], trash: bool, save: str | None) -> int:
    """Shut down; the lease and its place are kept, so that `flyinglow start` brings it back.

    What is saved cannot be started again; `flyinglow show` tells where its disk is and its checksum.
    """
    if trash and save:
        raise InvalidError("--trash throws the disks away that --save is to save: one of the two")
    if save and len(names) > 1 and "{" not in save:
        raise InvalidError("several would be saved under one name: put {name} or {tag} into the URI")
    if save:
        return _each(session, names, lambda it: it.shutdown("Save", save))
    return _each(session, names, lambda it: it.trash() if trash else it.shutdown())


@click.command()
@click.argument("name")
@click.argument("by", type=Duration())
@options
def extend(session: Session, *, name: str, by: int) -> None:
    """Move the end of NAME's lease BY a duration, as 1h; the site may refuse and says why."""
    resource = find(session.site, name)
    end = resource.extend(by)
    session.say(f"{name} now ends {showing.left(end)}")
    if session.json:
        session.answer({**showing.as_json(resource), "ends_at": showing.as_json(end)})


@click.command()
@click.argument("name")
@click.argument("new")
@options
def rename(session: Session, *, name: str, new: str) -> None:
    """Call NAME by the name NEW; a guest that runs keeps its host name."""
    resource = find(session.site, name)
    resource.rename(new)
    session.say(f"{name} is now called {new}")
    if session.json:
        session.answer({**showing.as_json(resource), "name": new})


@click.command("end-action")
@click.argument("name")
@click.option("--trash", is_flag=True, help="Throw the disks away at the end.")
@click.option("--save", metavar="URI", help="Send a copy of each first disk there; {name} is each one's name.")
@options
def end_action(session: Session, *, name: str, trash: bool, save: str | None) -> None:
    """Say what becomes of the disks at the end of NAME's lease: --trash, or --save URI."""
    if trash == bool(save):
        raise InvalidError("say --trash, or --save with the URI to save to: one of the two")
    resource = find(session.site, name)
    resource.set_end_action("Save" if save else "Trash", save)
    session.say(f"{name} is {f'saved to {save}' if save else 'thrown away'} at its end")
    if session.json:
        session.answer({**showing.as_json(resource), "end_action": "Save" if save else "Trash", "save_to": save})


@click.command()
@click.argument("name")
@options
def done(session: Session, *, name: str) -> None:
    """Close the open ensemble NAME: nothing can be added any more, and it starts."""
    resource = find(session.site, name)
    resource.done()
    session.say(f"{name} is closed and starts; `flyinglow wait {name}` waits for it")
    if session.json:
        session.answer(showing.as_json(resource))


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--wait", "wait_", is_flag=True, help="Wait until the nodes have confirmed that all is given back.")
@options
def destroy(session: Session, *, names: tuple[str, ...], wait_: bool) -> int:
    """End leases and give everything back. The other members of a group or ensemble are left as they are."""
    resources = [(word, find(session.site, word)) for word in names]
    answers: list[dict[str, Any]] = []
    for word, resource in resources:
        used = _used(resource)
        confirmed = _confirmed(session.site, resource) if wait_ else _unconfirmed(resource)
        session.say(f"{word} is destroyed{', and all of it confirmed' if confirmed else ''}; {used}")
        answers.append({"name": word, **showing.as_json(resource), "confirmed": confirmed})
    if session.json:
        session.answer(answers)
    return Exit.OK


def _used(resource: Resource) -> str:
    found = resource.properties()
    accepted = found.accepted_at
    if accepted is None and found.members:
        accepted = found.members[0].resource.properties().accepted_at
    if accepted is None or found.current_time is None:
        return "it had not begun"
    machines = found.total or 1
    return f"{machines} machine{'s' if machines > 1 else ''} for {words(found.current_time - accepted)}"


def _unconfirmed(resource: Resource) -> bool:
    resource.destroy()
    return False


def _confirmed(site: Telling, resource: Resource) -> bool:
    """Destroy, and fetch the word that it is over; that comes through wherever the request did."""
    with ExitStack() as stack:
        try:
            point = stack.enter_context(site.pull_point())
            point.watch(resource, topics=("termination",))
        except UnknownError:
            raise
        except FlyingLowError as error:
            click.echo(f"The service tells nobody of its end ({plain(error)}); not waiting.", err=True)
            return _unconfirmed(resource)
        resource.destroy()
        over = time.monotonic() + _CONFIRMED
        while time.monotonic() < over:
            if point.fetch(int(over - time.monotonic())):
                return True
            time.sleep(_SOON)
    message = f"{resource.name} is destroyed, but its nodes did not confirm it within {_CONFIRMED:.0f} s"
    raise UnconfirmedError(message)
