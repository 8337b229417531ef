"""``flyinglow serve``, ``init`` and ``doctor``: the service on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from flyinglow.cli.exits import Exit
from flyinglow.cli.plain import plain
from flyinglow.cli.preferences import config_home, data_home
from flyinglow.cli.session import Session
from flyinglow.nodectl.errors import BrokenError, ConflictError, DeniedError

SYSTEM = Path("/etc/flyinglow/flyinglow.toml")

_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Configuration file.  [default: {SYSTEM}, or your own]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def own_config() -> Path:
    """Return where a plain user's service has its configuration."""
    return config_home() / "flyinglow.toml"


def config_path(given: Path | None) -> Path:
    """Return the configuration file to read: the given one, the system's, or the user's own."""
    if given is not None:
        return given
    return next((path for path in (SYSTEM, own_config()) if path.exists()), SYSTEM)


@click.command()
@_CONFIG
def serve(config: Path | None) -> None:
    """Run the service until it is told to stop (SIGTERM or Ctrl-C); VMs are left alone by that."""
    from flyinglow.server import daemon

    daemon.serve(config_path(config))


@click.command()
@_CONFIG
@_JSON
@click.pass_obj
def init(session: Session, *, config: Path | None, as_json: bool) -> None:
    """Write a commented configuration file. A file that is there is left as it is.

    For root it is one of the system's, for others one for a service of their own, below ~/.local/share/flyinglow.
    """
    from flyinglow.server.configuration import sample as config_sample

    session.json = as_json or session.json
    own = None if os.geteuid() == 0 else data_home()
    path = config or (SYSTEM if own is None else own_config())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(config_sample.sample(own))
    except FileExistsError:
        raise ConflictError(f"{path} is there already and was left as it is") from None
    except PermissionError as error:
        raise DeniedError(f"{path} cannot be written: {error.strerror}") from None
    option = "" if config is None else f" --config {shlex.quote(str(path))}"
    images = Path("/srv/flyinglow/images") if own is None else own
    for line in _next(path, option, images):
        session.say(line)
    if session.json:
        session.answer({"config": str(path)})


def _next(path: Path, option: str, images: Path) -> list[str]:
    return [
        f"{path} is written. Every key stands in it with its meaning; edit what differs here. Then:",
        f"  flyinglow-nodectl build-guest {shlex.quote(str(images / 'guest'))}",
        "      builds a small guest, the image that the file names (not needed where you have an image)",
        f"  flyinglow doctor{option}",
        "      says what is missing, and how to mend it",
        f"  flyinglow serve{option}",
        "      runs the service; `flyinglow offers`, in another terminal, asks it",
    ]


@click.command()
@_CONFIG
@_JSON
@click.option("--job", is_flag=True, help="Give the batch scheduler one small job, which tries what pilots need.")
@click.pass_obj
def doctor(session: Session, *, config: Path | None, as_json: bool, job: bool) -> int:
    """Examine configuration and site, and say how to mend what is wrong. Ends with 1 when something is."""
    from flyinglow.server.doctor import site as physician

    session.json = as_json or session.json
    findings = physician.examine(config_path(config), job=job)
    if session.json:
        session.answer([{key: getattr(each, key) for key in ("name", "ok", "detail", "fix")} for each in findings])
    for each in [] if session.json else findings:
        click.echo(f"{'ok  ' if each.ok else 'FAIL'} {plain(each.name)}: {plain(each.detail)}")
        if not each.ok and each.fix:
            click.echo(f"     fix: {plain(each.fix)}")
    return Exit.OK if all(each.ok for each in findings) else Exit.BROKEN


def state_dir(config: Path | None, given: Path | None) -> Path:
    """Return the running service's state directory. Raises BrokenError when there is no configuration to say it."""
    if given is not None:
        return given
    path = config_path(config)
    if not path.exists():
        raise BrokenError(f"there is no {path}; say --config FILE or --state-dir DIRECTORY")
    from flyinglow.server.configuration.file import load

    return load(path).server.state_dir
