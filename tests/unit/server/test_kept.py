"""What is made from files: anew when they change, and never from what is faulty."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyinglow.nodectl.errors import BrokenError
from flyinglow.server.kept import Kept


def number(path: Path) -> int:
    try:
        return int(path.read_text())
    except ValueError:
        raise BrokenError("no number") from None


def kept(path: Path) -> Kept[int]:
    return Kept(lambda: number(path), [path], "a number")


def test_it_is_made_anew_when_its_file_changes_only(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.write_text("1")
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return number(path)

    one = Kept(make, [path], "a number")
    assert not one.look()
    path.write_text("22")
    assert one.look()
    assert (one.current, len(made)) == (22, 2)
    assert one.look(anyway=True)


def test_a_faulty_change_leaves_what_was_there_and_is_tried_again_once_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.write_text("1")
    one = kept(path)
    path.write_text("what")
    assert not one.look()
    assert one.current == 1
    path.write_text("333")
    assert one.look()
    assert one.current == 333


def test_the_first_time_a_fault_is_the_callers_to_hear(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("what")
    with pytest.raises(BrokenError, match="no number"):
        kept(tmp_path / "n")


def test_a_directory_changes_with_what_is_below_it(tmp_path: Path) -> None:
    inner = tmp_path / "vo"
    inner.mkdir()
    one = Kept(lambda: len(list(inner.iterdir())), [tmp_path], "files")
    (inner / "a.lsc").write_text("x")
    assert one.look()
    assert one.current == 1
    (inner / "a.lsc").unlink()
    assert one.look()
    assert one.current == 0
