"""``flyinglow demo``: sets up a site of its own, leases a virtual cluster from it, shows it, leaves nothing behind."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console as Screen

from flyinglow.cli.demo import exposure, world
from flyinglow.cli.demo.daemon import serving
from flyinglow.cli.demo.kinds import Choice, Form, choose
from flyinglow.cli.demo.leftovers import leftovers
from flyinglow.cli.demo.lrm_play import play as play_lrm
from flyinglow.cli.demo.schedulers import SCHEDULERS
from flyinglow.cli.demo.site import DAEMON_USER, Site, build, kill_all
from flyinglow.cli.demo.story import Story
from flyinglow.client import Consumer, connect
from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.nodectl.guest import build as build_guest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_PLACE = 40
_ASKED = "the simulated hypervisor, as asked"


@click.command(help=__doc__)
@click.option("--simulated", is_flag=True, help="Use the simulated hypervisor even where QEMU is installed.")
@click.option("--keep", is_flag=True, help="Keep the demo's directory, with every log, for a look afterwards.")
@click.option("--guest", type=click.Path(path_type=Path), help="Where the guest image is built and kept.")
@click.option("--lrm", type=click.Choice(sorted(SCHEDULERS)), help="Lease the nodes from a private batch scheduler.")
@click.option(world.INSIDE, "inside", is_flag=True, hidden=True)
def demo(*, simulated: bool, keep: bool, guest: Path | None, lrm: str | None, inside: bool) -> None:
    """Run the demo; exit 0 after the line ``demo: ok``."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # each event is seen when it comes, through a pipe as well
    screen = Screen(highlight=False, soft_wrap=True)
    try:
        if lrm is None:
            _demo(screen, simulated=simulated, keep=keep, guest=guest, inside=inside)
        else:
            _demo_lrm(screen, lrm, keep=keep, guest=guest, inside=inside)
    except (FlyingLowError, TimeoutError, OSError) as error:
        screen.print(f"demo: failed: {error}", style="red", markup=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        screen.print("demo: interrupted; nothing of it is left running", style="red")
        raise SystemExit(130) from None


def _demo(screen: Screen, *, simulated: bool, keep: bool, guest: Path | None, inside: bool) -> None:
    root = os.geteuid() == 0
    namespaces = inside or (root and world.can_enter())
    choice = Choice(Form.SIMULATED, _ASKED) if simulated else choose(root=root, namespaces=namespaces)
    if not inside:
        screen.print(f"Flying Low demo ({choice.why}).")
    where = guest or _cache(root=root)
    image = None if choice.form is Form.SIMULATED else _guest(where, screen, quiet=inside)
    if namespaces and not inside:
        raise SystemExit(world.enter(_again(simulated=simulated, keep=keep, guest=where)))
    _stop_on_signals()
    _play(choice.form, image, screen, inside=inside, keep=keep)
    screen.print("demo: ok" if choice.form is not Form.SIMULATED else "demo: ok (simulated)")


def _demo_lrm(screen: Screen, lrm: str, *, keep: bool, guest: Path | None, inside: bool) -> None:
    """Play on a private batch scheduler, which starts jobs as other users: root's business."""
    where = guest or _cache(root=True)
    if not inside:
        if os.geteuid() != 0 or not world.can_enter():
            message = f"a private {lrm} with nodes of its own needs root, and the right to make namespaces"
            raise BrokenError(message)
        screen.print(f"Flying Low demo (nodes are leased from a private {lrm}).")
        _guest(where, screen, quiet=False)
        SCHEDULERS[lrm].fetch()
        again = ["--lrm", lrm, *_again(simulated=False, keep=keep, guest=where)]
        raise SystemExit(world.enter(again))
    _stop_on_signals()
    image = _guest(where, screen, quiet=True)
    with _directory(screen, keep=keep) as directory:
        world.furnish()
        exposure.expose([*exposure.code_directories(), directory, *_files_of(image)])
        play_lrm(SCHEDULERS[lrm], directory, image, screen)
    screen.print("demo: ok")


def _stop_on_signals() -> None:
    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in world.ENDING:
        signal.signal(number, stop)


def _again(*, simulated: bool, keep: bool, guest: Path) -> Sequence[str]:
    flags = {"--simulated": simulated, "--keep": keep}
    return [*(flag for flag, given in flags.items() if given), "--guest", str(guest)]


def _cache(*, root: bool) -> Path:
    base = Path("/var/cache") if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = base / "flyinglow" / "guest"
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError:
        # a user without a home can still see the demo; the next one builds the image again
        return Path(tempfile.gettempdir()) / f"flyinglow-guest-{os.geteuid()}"
    return where


def _guest(where: Path, screen: Screen, *, quiet: bool) -> dict[str, Any]:
    began = time.monotonic()
    where.mkdir(parents=True, exist_ok=True, mode=0o755)
    if where.stat().st_uid != os.geteuid():
        message = f"{where} belongs to another user; name another place with --guest"
        raise BrokenError(message)
    image: dict[str, Any] = build_guest(where, where / "downloads")
    if not quiet:
        screen.print(f"The guest image is in the catalogue ({time.monotonic() - began:.1f} s).")
    return image


@contextmanager
def _directory(screen: Screen, *, keep: bool) -> Iterator[Path]:
    # nodes keep unix sockets below it, whose paths cannot be long (unix(7)); some sessions have a deep TMPDIR
    place = tempfile.gettempdir()
    directory = Path(tempfile.mkdtemp(prefix="flyinglow-demo-", dir=place if len(place) <= _PLACE else "/tmp"))  # noqa: S108
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        if keep:
            screen.print(f"Kept: {directory}", markup=False)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _play(form: Form, image: dict[str, Any] | None, screen: Screen, *, inside: bool, keep: bool) -> None:
    with _directory(screen, keep=keep) as directory:
        if inside:
            world.furnish()
            exposure.expose([*exposure.code_directories(), directory, *_files_of(image)])
        if os.geteuid() == 0:
            exposure.check_readable(DAEMON_USER)
        site = build(form, directory, image)
        try:
            with serving(site):
                _tell(site, screen)
        finally:
            kill_all(site)


def _files_of(image: dict[str, Any] | None) -> list[Path]:
    return [Path(image["path"]).parent] if image else []


def _tell(site: Site, screen: Screen) -> None:
    story = Story(connect(site.url), screen, guests=site.form is not Form.SIMULATED, peers=site.form is Form.NAMESPACES)
    with Consumer() as consumer:
        lease = story.lease(consumer)
        members = story.members(lease)
        story.guests_say(members)
        story.receipt(members)
        story.destroy(lease, members)
    if found := leftovers(site):
        message = "left behind: " + "; ".join(found)
        raise BrokenError(message)
    screen.print("Nothing is left: no process, no tap, no directory, no row that is not ended.")
