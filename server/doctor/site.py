"""``flyinglow doctor``: looks at a site before or while it serves, and says how to mend what it finds wrong."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flyinglow.backend import reach
from flyinglow.backend.channel import local, ssh, stdio
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.server.catalogue import catalogue
from flyinglow.server.composition import SQLITE, open_store
from flyinglow.server.configuration.file import load
from flyinglow.server.doctor import guest as doctor_guest
from flyinglow.server.doctor import issuers as doctor_issuers
from flyinglow.server.doctor import job as doctor_job
from flyinglow.server.doctor import lrm as doctor_lrm
from flyinglow.server.doctor import tls as doctor_tls
from flyinglow.server.doctor.finding import Finding
from flyinglow.server.nodes import from_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flyinglow.server.configuration.settings import Config, Listener
    from flyinglow.workspace.catalogue import Image

_HELLO_SECONDS = 20.0


def examine(config_path: Path, *, job: bool = False) -> list[Finding]:
    """Look at the configuration and at all that it names; blocks. Never raises for what is wrong with a site.

    ``job``: a batch scheduler is given one small job, for what only a job can show. Nothing else is submitted.
    """
    try:
        config = load(config_path)
    except FlyingLowError as error:
        detail = "; ".join(error.message.splitlines())
        return [Finding("configuration", ok=False, detail=detail, fix="correct these lines")]
    return [Finding("configuration", ok=True, detail=f"{config_path} is understood"), *_site(config, job=job)]


def _site(config: Config, *, job: bool) -> Iterator[Finding]:
    yield _user(config)
    yield _state_dir(config.server.state_dir)
    running = _serving(config.server.state_dir)
    yield _store(config, running=running)
    for name in ("client", "node", "guest"):
        yield _listener(name, getattr(config.listen, name), running=running)
    yield doctor_guest.examine(config.listen.guest, running=running)
    yield from doctor_tls.examine(config)
    yield from doctor_issuers.examine(config)
    yield Finding("back-end", ok=True, detail=config.backend.kind)  # not understood without it and its options
    yield from _images(config)
    for name in sorted(config.node):
        yield _node(config, name)
    yield from _places(config, running=running, job=job)
    if not config.network:
        yield Finding("networks", ok=False, detail="no network is configured", fix="add a [network.NAME] table")


def _places(config: Config, *, running: bool, job: bool) -> Iterator[Finding]:
    """Look at where VMs are to come from: a batch scheduler, or nodes of the site's own."""
    if config.backend.kind == "lrm":
        yield from doctor_lrm.static(config)
        if job:
            yield from doctor_job.examine(config, serving=running)
        return
    if not config.node and config.backend.kind == "default":
        fix = "add a [node.NAME] table, or `admin node add`"
        yield Finding("nodes", ok=False, detail="no node is configured", fix=fix)
    if job:
        fix = "leave --job out"
        yield Finding("job", ok=False, detail=f"the back-end {config.backend.kind} has no batch scheduler", fix=fix)


def _user(config: Config) -> Finding:
    user = config.server.user
    if os.geteuid() != 0:
        return Finding("user", ok=True, detail=f"not root: serve keeps running as {_own_name()}")
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        fix = f"adduser --system --group {user}, or set [server] user"
        return Finding("user", ok=False, detail=f"there is no user {user}", fix=fix)
    return Finding("user", ok=uid != 0, detail=f"serve becomes {user} at once", fix="[server] user must not be root")


def _own_name() -> str:
    """Who runs this process; containers often run theirs as a number that no account has."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}, who has no account"


def _state_dir(path: Path) -> Finding:
    parent = next(ancestor for ancestor in (path, *path.parents) if ancestor.exists())
    ok = os.access(parent, os.W_OK | os.X_OK)
    good = f"{path} is writable" if parent == path else f"{path} is not there yet; serve makes it"
    detail = good if ok else f"{parent} is not writable for this user"
    return Finding("state directory", ok=ok, detail=detail, fix=f"create {path} and give it to the daemon's user")


def _serving(state_dir: Path) -> bool:
    """Say whether a daemon serves with this state directory; a killed one leaves its socket, but nobody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(state_dir / "admin.sock"))
        except OSError:
            return False
    return True


def _store(config: Config, *, running: bool) -> Finding:
    if running:
        return Finding("store", ok=True, detail="in use by the running service")
    if not config.server.store and not (config.server.state_dir / SQLITE).exists():
        return Finding("store", ok=True, detail="SQLite, which the first start makes")
    try:
        open_store(config).close()
    except FlyingLowError as error:
        return Finding("store", ok=False, detail=error.message, fix="see the message; is the database server running?")
    except Exception as error:  # noqa: BLE001 - whatever a database driver says belongs in the report
        first = str(error).splitlines()[0]
        return Finding("store", ok=False, detail=first, fix="check [server] store and that the database answers")
    return Finding("store", ok=True, detail="opens, and its tables are up to date")


def _listener(name: str, listener: Listener, *, running: bool) -> Finding:
    where = f"{listener.address}:{listener.port}"
    if running:
        return Finding(f"listener {name}", ok=True, detail=f"{where} belongs to the running service")
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    try:
        socket.create_server((listener.address, listener.port), family=family).close()
    except OSError as error:
        fix = "free the port or choose another one"
        return Finding(f"listener {name}", ok=False, detail=f"{where}: {error.strerror}", fix=fix)
    return Finding(f"listener {name}", ok=True, detail=f"{where} is free")


def _images(config: Config) -> Iterator[Finding]:
    try:
        images = catalogue(config.image)
    except FlyingLowError as error:
        files = [entry.file for entry in config.image.values() if entry.file is not None]
        where = files[0].parent if files else "DIR"
        fix = f"build one: flyinglow-nodectl build-guest {where}"
        yield Finding("images", ok=False, detail=error.message, fix=fix)
        return
    for image in images.values():
        yield _image(image)
    if not images:
        fix = "add an [image.NAME] table; flyinglow-nodectl build-guest DIR makes a small one"
        yield Finding("images", ok=False, detail="the catalogue is empty", fix=fix)


def _image(image: Image) -> Finding:
    name = f"image {image.name}"
    path = Path(unquote(urlsplit(image.source or "").path) if "://" in (image.source or "") else image.source or "")
    if not path.exists():
        return Finding(name, ok=True, detail=f"{path} is not on this machine; every node must have it")
    if image.sha256 is None:
        return Finding(name, ok=True, detail=f"{path} (no sha256 to hold it against)")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    detail = f"{path} has the checksum of the catalogue" if found == image.sha256 else f"{path} has sha256 {found}"
    return Finding(name, ok=found == image.sha256, detail=detail, fix="fetch the image again or correct sha256")


def _agent(how: reach.Reach) -> list[str]:
    return local.argv(how) if isinstance(how, reach.LocalReach) else ssh.argv(how)


def _node(config: Config, name: str) -> Finding:
    label = f"node {name}"
    try:
        argv = _agent(reach.parse(from_config(name, config.node[name]).reach, name))
    except FlyingLowError as error:
        return Finding(label, ok=False, detail=error.message, fix=f"correct [node.{name}] reach")
    fix = f"run this by hand as the daemon's user: {' '.join(argv)}"
    try:
        # an agent ends at the end of its input, so an empty input makes it say hello and go; as from the service, it is
        # looked for in our PATH and gets no more of our environment, or it could work here and fail there
        done = subprocess.run(
            [shutil.which(argv[0]) or argv[0], *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=stdio.ENVIRONMENT,
            timeout=_HELLO_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        detail = f"there is no program {argv[0]}" + ("" if "/" in argv[0] else " in the PATH of whoever runs this")
        return Finding(label, ok=False, detail=detail, fix=f"install it, or give its whole path in [node.{name}] reach")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(label, ok=False, detail=str(error), fix=fix)
    ok = b'"hello"' in done.stdout
    said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
    return Finding(label, ok=ok, detail="its control program says hello" if ok else said or "it said nothing", fix=fix)
