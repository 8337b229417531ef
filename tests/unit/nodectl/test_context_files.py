"""A file of a lessee becomes a path in his guest and a word of programs on the node: what it may be, and is then."""

import base64
import io
import tarfile
from typing import Any

import pytest

from flyinglow.nodectl.context import files
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.messages import GuestFile
from flyinglow.nodectl.spec import read

PLAIN: dict[str, Any] = {"tag": "a1", "name": "ce", "memory_mb": 96, "cpus": 1}


def file(path: str = "/etc/x", data: bytes = b"x", mode: int = 0o644) -> GuestFile:
    return GuestFile(path, base64.b64encode(data).decode(), mode)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("etc/x", "no absolute path"),
        ("", "no absolute path"),
        ("/", "plainly"),
        ("//etc/x", "plainly"),
        ("/etc/", "plainly"),
        ("/etc/./x", "plainly"),
        ("/etc//x", "plainly"),
        ("/etc/../x", r"step '\.\.'"),
        ("/..", r"step '\.\.'"),
        ("/etc/x\nrm /", "control character"),
        ("/etc/\0", "control character"),
        ("/etc/\x1b[2J", "control character"),
        ("/etc/\u2028x", "control character"),
        ("/etc/\udcff", "control character"),
        ("/" + "a" * 256, "255"),
        ("/" + "é" * 128, "255"),
        ("/abc" * 257, "1024"),
        (None, "no absolute path"),
    ],
)
def test_paths_that_are_refused(path: Any, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        files.check_path(path)


@pytest.mark.parametrize("path", ["/x", "/etc/a b", '/etc/"x"', "/é/…", "/" + "a" * 255, "/<2>", "/-x", "/a:b;c&d|e"])
def test_paths_that_are_taken(path: str) -> None:
    files.check_path(path)


@pytest.mark.parametrize("mode", [-1, 0o4755, 0o10000, "644", True, None, 6.0])
def test_modes_that_are_refused(mode: Any) -> None:
    with pytest.raises(InvalidError, match="mode is 0 to 777"):
        files.check_mode("/x", mode)


def test_number_and_size_of_files_are_bounded() -> None:
    files.check([file(f"/{number}") for number in range(files.MOST)])
    with pytest.raises(InvalidError, match="65 files were given; a guest is given at most 64"):
        files.check([file(f"/{number}") for number in range(files.MOST + 1)])
    half = b"x" * (files.MOST_BYTES // 2)
    files.check([file("/a", half), file("/b", half)])
    with pytest.raises(InvalidError, match="1048577 bytes together; a guest is given at most 1048576"):
        files.check([file("/a", half), file("/b", half), file("/c", b"x")])


def test_no_file_is_there_twice_or_the_folder_of_another() -> None:
    with pytest.raises(InvalidError, match="/a is there twice"):
        files.check([file("/a"), file("/b"), file("/a")])
    with pytest.raises(InvalidError, match="/a/b cannot be a file and the folder of /a/b/c/d"):
        files.check([file("/a/b/c/d"), file("/a/b")])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": [{"path": "/x", "content": "not base64!"}]}, "is not base64"),
        ({"files": [{"path": "/x", "content": 7}]}, "is not base64"),
        ({"files": [{"path": "/x"}]}, "content"),
        ({"files": ["/x"]}, "not a VM's specification"),
        ({"files": [{"path": "/../x", "content": ""}]}, "step"),
        ({"keys": ["ssh-rsa AA\nmember evil - 10.0.0.1"]}, "key must be a text of one line"),
        ({"keys": [7]}, "key must be a text"),
        ({"delivery": "pigeon"}, "not by 'pigeon'"),
        ({"delivery": None}, "not by None"),
        ({"context": "name a\0"}, "NUL"),
        ({"context": "x" * ((1 << 20) + 1)}, "more than 1048576 bytes"),
    ],
)
def test_a_node_judges_for_itself(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        read({**PLAIN, **change})


def test_the_archive_holds_what_was_given_as_roots_own() -> None:
    given = [file("/etc/a b", bytes(range(256)), 0o750), file("/" + "x" * 200, b"", 0o600)]
    with tarfile.open(fileobj=io.BytesIO(files.archive(given))) as tar:
        found = [(m.name, m.mode, m.uid, m.gid, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    assert found == [("etc/a b", 0o750, 0, 0, bytes(range(256))), ("x" * 200, 0o600, 0, 0, b"")]


def test_nothing_secret_is_in_what_a_log_would_show() -> None:
    spec = read(
        {**PLAIN, "context": "token s3cret", "user_data": "s3cret", "files": [{"path": "/x", "content": "s3cr"}]}
    )
    assert "s3cr" not in repr(spec)
