"""Disks on the command line and in a request file, and how they and what was saved are shown."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from flyinglow.cli import disks, request_file
from flyinglow.cli.__main__ import run
from flyinglow.cli.session import Session
from flyinglow.client import Disk, Entry, Epr, LeasedDisk, Properties, Resource, Result, Saved, Valid
from flyinglow.nodectl.errors import InvalidError

SHA = "ab" * 32


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("data", Disk(partition="data")),
        ("data:ro", Disk(partition="data", read_only=True)),
        ("data:/srv/data", Disk(partition="data", mount="/srv/data")),
        ("data:/srv/data:ro", Disk(partition="data", mount="/srv/data", read_only=True)),
    ],
)
def test_a_partition(text: str, disk: Disk) -> None:
    assert disks.partition(text) == disk


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        ("20G", Disk(blank_mb=20480)),
        ("scratch=512M:/scratch", Disk(name="scratch", blank_mb=512, mount="/scratch")),
        ("swap=1G:swap", Disk(name="swap", blank_mb=1024, file_system="swap")),
    ],
)
def test_a_blank_disk(text: str, disk: Disk) -> None:
    assert disks.blank(text) == disk


@pytest.mark.parametrize("text", ["", ":ro", "data:rw", "data:/a:/b", "data:ro:ro"])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="--partition"):
        disks.partition(text)


@pytest.mark.parametrize("text", ["", "x", "=x", "1G:ext4", "a=1G:scratch"])
def test_what_is_no_blank_disk_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="--blank"):
        disks.blank(text)


class One(Resource):
    """A workspace of which all is known."""

    def __init__(self) -> None:
        super().__init__(None, Epr("http://there/workspace/" + "0" * 32), "ce")  # type: ignore[arg-type]
        self.shut: list[tuple[str, str | None]] = []

    def shutdown(self, mode: str = "Normal", save_to: str | None = None) -> list[Result]:
        self.shut.append((mode, save_to))
        return []

    def properties(self) -> Properties:
        return PROPERTIES


class Site:
    """A site with one workspace; remembers what it was asked for."""

    url = "http://there"

    def __init__(self) -> None:
        self.one = One()
        self.asked: dict[str, Any] = {}

    def validate(self, parts: Any, **asked: Any) -> Valid:
        self.asked = {"parts": parts, **asked}
        return Valid(workspaces=1, duration=60)

    def list(self, kind: str | None = None, state: str | None = None, *, everybody: bool = False) -> list[Entry]:
        return [Entry(name="ce", kind="workspace", resource=self.one, state="Running")]


PROPERTIES = Properties(
    kind="workspace",
    name="ce",
    state="TransportReady",
    disks=(
        LeasedDisk(name="root", image="https://images.example/ce.qcow2", sha256=SHA, format="qcow2"),
        LeasedDisk(name="data", partition="reference", mount="/data", read_only=True),
        LeasedDisk(name="scratch", blank_mb=512, file_system="ext4"),
    ),
    save_to="store:mine/ce",
    saves_at=datetime(2030, 1, 1, tzinfo=UTC),
    saved=Saved(target="file:///store/mine/ce", sha256=SHA, disk="root", format="qcow2", bytes=3 << 20),
)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Site()


def do(site: Site, *arguments: str) -> int:
    return run(arguments, Session(connect=lambda chosen: cast("Any", site)))


def test_create_takes_every_kind_of_disk_and_where_to_save(site: Site) -> None:
    words = [
        "--image",
        "https://images.example/ce.qcow2",
        "--sha256",
        SHA,
        "--format",
        "qcow2",
    ]
    words += ["--kernel-from", "debian", "--partition", "reference:/data:ro", "--blank", "scratch=1G:/scratch"]
    assert do(site, "create", "--dry-run", "--memory", "96", "--save-to", "store:mine/{name}", *words) == 0
    (part,) = site.asked["parts"]
    assert part.disks == (
        Disk(image="https://images.example/ce.qcow2", sha256=SHA, format="qcow2", kernel_from="debian"),
        Disk(partition="reference", mount="/data", read_only=True),
        Disk(name="scratch", blank_mb=1024, mount="/scratch"),
    )
    assert (site.asked["end_action"], site.asked["save_to"]) == ("Save", "store:mine/{name}")


def test_shutdown_saves(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(site, "shutdown", "ce", "--save", "store:mine/ce") == 0
    assert site.one.shut == [("Save", "store:mine/ce")]
    for words in (["ce", "se", "--save", "store:mine/ce"], ["ce", "--save", "store:a", "--trash"]):
        assert do(site, "shutdown", *words) != 0
    assert "one name" in capsys.readouterr().err
    assert len(site.one.shut) == 1


def test_show_tells_the_disks_and_what_was_saved_where(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(site, "show", "ce") == 0
    told = capsys.readouterr().out
    for line in (
        "disk      root https://images.example/ce.qcow2",
        "disk      data partition reference /data read-only",
        "disk      scratch blank 512 MB ext4",
        "saves     to store:mine/ce, from ",
        "saved     root to file:///store/mine/ce (qcow2, 3.0 MB)",
        f"sha256    {SHA}",
    ):
        assert line in told
    assert do(site, "show", "ce", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["saved"]["sha256"], found["disks"][1]["partition"]) == (SHA, "reference")


def test_a_request_file_names_images_by_uri_and_where_to_save(tmp_path: Path) -> None:
    path = tmp_path / "request.toml"
    path.write_text(
        'end_action = "Save"\nsave_to = "store:mine/{name}"\n[[parts]]\nname = "ce"\nmemory_mb = 96\n'
        f'[[parts.disks]]\nimage = "https://x/y"\nsha256 = "{SHA}"\nformat = "raw"\nsize_mb = "1G"\n'
    )
    made = request_file.read(path)
    assert (made["end_action"], made["save_to"]) == ("Save", "store:mine/{name}")
    assert made["parts"][0].disks == (Disk(image="https://x/y", sha256=SHA, format="raw", size_mb=1024),)
