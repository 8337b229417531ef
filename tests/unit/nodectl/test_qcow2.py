"""What headers of qcow2 files are let through: honest ones as qemu-img writes them, and nothing else."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.images import qcow2

MOST = 1 << 40
AT = {"backing": (8, ">Q"), "bits": (20, ">I"), "size": (24, ">Q"), "crypt": (32, ">I"), "l1": (36, ">I")}
AT |= {"l1_at": (40, ">Q"), "refcounts": (56, ">I"), "snapshots": (60, ">I"), "features": (72, ">Q")}

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


def _made(path: Path, *options: str, size: str = "64M") -> Path:
    words = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size]
    subprocess.run(words, check=True)
    return path


@pytest.mark.parametrize(
    "options",
    [(), ("-o", "compat=0.10"), ("-o", "cluster_size=2M"), ("-o", "cluster_size=512"), ("-o", "extended_l2=on")],
)
@pytest.mark.parametrize("size", ["1M", "64M", "3G", "60G"])
def test_what_qemu_img_makes_is_taken(tmp_path: Path, options: tuple[str, ...], size: str) -> None:
    if options[-1:] == ("cluster_size=512",) and size == "60G":
        size = "1G"  # QEMU itself takes no larger table
    found = qcow2.check(_made(tmp_path / "a", *options, size=size), MOST)
    assert found.size == int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("backing", 512, "refers to another file"),
        ("features", 0b100, "refers to another file"),
        ("features", 0b10, "damaged"),
        ("features", 1 << 40, "damaged"),
        ("bits", 30, "damaged"),
        ("crypt", 2, "encrypted"),
        ("l1", 1 << 22, "table"),
        ("l1", 0, "table"),
        ("l1_at", 1 << 40, "table"),
        ("l1_at", 7, "table"),
        ("refcounts", 1 << 30, "references"),
        ("snapshots", 65535, "snapshots"),
        ("size", 1 << 62, "larger than"),
    ],
)
def test_a_forged_header_is_refused(tmp_path: Path, field: str, value: int, words: str) -> None:
    path = _made(tmp_path / "a")
    qcow2.check(path, MOST)
    data = bytearray(path.read_bytes())
    at, form = AT[field]
    struct.pack_into(form, data, at, value)
    path.write_bytes(data)
    with pytest.raises(InvalidError, match=words):
        qcow2.check(path, MOST)


def test_a_name_of_another_file_in_an_extension_is_found(tmp_path: Path) -> None:
    path = _made(tmp_path / "a", "-o", f"data_file={tmp_path}/b")
    data = bytearray(path.read_bytes())
    struct.pack_into(">Q", data, 72, 0)  # without the feature that announces it
    path.write_bytes(data)
    with pytest.raises(InvalidError, match="refers to another file"):
        qcow2.check(path, MOST)


@pytest.mark.parametrize("data", [b"", b"QFI\xfb", b"x" * 4096, b"QFI\xfb\0\0\0\x09" + b"\0" * 200])
def test_what_is_no_qcow2_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(InvalidError):
        qcow2.check(path, MOST)


@pytest.mark.parametrize("extensions", [[(0x23852875, 24)], [(0x6803F857, 1 << 17)], [(1, 0xFFFFFFFF)]])
def test_extensions_that_take_memory_or_hide_others_are_refused(
    tmp_path: Path, extensions: list[tuple[int, int]]
) -> None:
    path = _made(tmp_path / "a")
    data = bytearray(path.read_bytes())
    at = struct.unpack_from(">I", data, 100)[0]
    for kind, length in extensions:
        struct.pack_into(">II", data, at, kind, length)
        at += 8 + (length + 7) // 8 * 8
        if at + 8 < len(data):
            struct.pack_into(">II", data, at, 0, 0)
    path.write_bytes(data)
    with pytest.raises(InvalidError, match=r"kind that is not taken|no end"):
        qcow2.check(path, MOST)
