"""The page that takes a site from an empty directory to a user with a grid proxy: all of it is done, in its order."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rigs.daemon import environment
from rigs.guest import Guest
from rigs.ports import free_port
from rigs.unprivileged import USER, wrapped

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "administration" / "first-site.md"
PLACE = "/srv/first-site"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 300


class Reader:
    """Somebody who follows the page, in a directory of his own in place of the page's."""

    def __init__(self, here: Path) -> None:
        self.here, self.port = here, free_port()
        self.environment = {**environment(), "HOME": str(here), "USER": USER}
        self.said: dict[str, str] = {}
        if os.geteuid() == 0:
            shutil.chown(here, USER)

    def blocks(self) -> Iterator[tuple[str, str]]:
        """Give the page's blocks, with his directory and port in them."""
        text = PAGE.read_text()
        assert "[listen.node]" not in text
        yield from FENCE.findall(text.replace(PLACE, str(self.here)).replace("8480", str(self.port)))

    def argv(self, command: str) -> list[str]:
        become = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        return wrapped([*become, "sh", "-c", f"cd {self.here} && {command}"], self.here)

    def type(self, command: str) -> None:
        """Do one line; it must end well."""
        if exported := re.match(r"export (\w+)=(\S+)$", command):
            self.environment[exported[1]] = exported[2]
            return
        done = subprocess.run(
            self.argv(command), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        log = self.here / "serve.log"
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{log.read_text() if log.exists() else ''}"
        self.said[command] = done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        """Keep a file of the page."""
        (self.here / name).write_text(text)
        (self.here / name).chmod(0o644)

    @contextmanager
    def serving(self, eventually: Callable[..., Any]) -> Iterator[None]:
        """Run the service, as in a terminal of its own; Ctrl-C at the end."""
        with (self.here / "serve.log").open("ab") as out:
            argv = self.argv("exec flyinglow serve --config site.toml")
            service = subprocess.Popen(argv, env=self.environment, stdout=out, stderr=out, start_new_session=True)
        try:
            eventually(lambda: "serving" in (self.here / "serve.log").read_text() or service.poll() is not None)
            yield
            service.send_signal(signal.SIGINT)
            assert service.wait(120) == 0
        finally:
            if service.poll() is None:
                service.kill()
                service.wait()


@pytest.fixture
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Give a reader whose directory has a short name, for sockets."""
    made = Reader(tmp_path_factory.mktemp("fs"))
    yield made
    argv = made.argv("flyinglow-nodectl --config nodectl.json kill-all")
    subprocess.run(argv, env=made.environment, capture_output=True, timeout=SECONDS, check=False)


def follow(reader: Reader, *, node: dict[str, Any], guest: dict[str, Any], eventually: Callable[..., Any]) -> None:
    """Do what the page says; ``node`` and ``guest`` are put in place of what cannot be had in a test."""
    before: list[str] = []
    after: list[str] = []
    lines = before
    for language, block in reader.blocks():
        if language == "toml":
            extra = f"[listen.node]\nport = 0\n[listen.guest]\nport = {free_port()}\n"
            reader.write(block.splitlines()[0].removeprefix("# "), block + extra)
        elif language == "json":
            reader.write("nodectl.json", json.dumps({**json.loads(block), **node}))
        elif language == "console":
            lines += [line.removeprefix("$ ") for line in block.splitlines()]
        elif "flyinglow serve" in block:
            lines = after
    (reader.here / "guest").mkdir()
    reader.write("guest/image.json", json.dumps(guest))
    assert len(before) > 8
    assert len(after) > 6
    for command in before:
        reader.type(command)
    with reader.serving(eventually):
        for command in after:
            reader.type(command)


def told(reader: Reader, word: str) -> str:
    """Return what the commands with a word in them said."""
    return "".join(said for command, said in reader.said.items() if word in command)


needs_proxies = pytest.mark.skipif(not shutil.which("grid-proxy-init"), reason="there is no grid-proxy-init")


@needs_proxies
def test_the_page_about_a_first_site_works(reader: Reader, eventually: Callable[..., Any]) -> None:
    blank = reader.here / "blank.img"
    blank.write_bytes(b"\0" * 1024)
    guest = {"path": str(blank), "format": "raw", "ready_mark": "ready"}
    follow(reader, node={"driver": "simulated", "images": []}, guest=guest, eventually=eventually)
    assert "physics" in told(reader, "quota")
    assert "Running" in told(reader, "show first")
    assert re.search(r"running.*(limit|2)", told(reader, "--count 3"))
    assert "CN=Alice,O=Grid" in told(reader, "admin audit")
    assert "all of it confirmed" in told(reader, "destroy first")


@needs_proxies
@pytest.mark.full
def test_the_page_about_a_first_site_works_with_a_real_guest(
    reader: Reader, guest_image: Guest, eventually: Callable[..., Any]
) -> None:
    images = str(Path(guest_image.entry["path"]).parent)
    follow(reader, node={"images": [images]}, guest=guest_image.entry, eventually=eventually)
    assert "Running" in told(reader, "show first")
