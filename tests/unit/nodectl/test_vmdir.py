"""Records, locks, and a console that only grows."""

import threading
from pathlib import Path

import pytest

from flyinglow.nodectl.console import Console
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.processes import alive, boot_id, mark
from flyinglow.nodectl.vmdir import ProcessMark, Record, StateDir, VmDir

SPEC = VmSpec("a1", "ce", 96, 1)


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path / "state", tmp_path / "run")
    made.prepare()
    return made


@pytest.fixture
def vm(state: StateDir) -> VmDir:
    made = state.vm("a1")
    made.create(SPEC)
    return made


def test_what_is_written_is_read_again(vm: VmDir) -> None:
    assert vm.record() is None
    record = vm.update(Record(process=ProcessMark(7, 8, "b")), ready=True)
    assert vm.record() == record == Record(process=ProcessMark(7, 8, "b"), ready=True)
    assert vm.spec() == SPEC
    assert (vm.path / "spec.json").stat().st_mode & 0o777 == 0o600
    assert vm.path.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in vm.path.iterdir()} == {"spec.json", "vm.json"}


def test_a_lock_keeps_others_out_and_leaves_no_file(state: StateDir) -> None:
    order = []
    held = threading.Event()

    def second() -> None:
        held.wait(5)
        with state.locked("a1"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with state.locked("a1"):
        held.set()
        with pytest.raises(BlockingIOError), state.locked("a1", wait=False):
            pass
        with state.locked("b2", wait=False):
            order.append("first")
    thread.join(120)
    assert order == ["first", "second"]
    assert list((state.path / "locks").iterdir()) == []


def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(BrokenError, match="key run"):
        StateDir(tmp_path / "state", tmp_path / "run").prepare_run()


def test_an_empty_run_directory_is_tidied_away(state: StateDir, tmp_path: Path) -> None:
    state.prepare_run()
    state.tidy()
    assert not (tmp_path / "run").exists()


def test_a_mark_counts_as_a_lines_beginning_in_this_run_only(vm: VmDir) -> None:
    vm.update()
    console = Console(vm)
    assert not console.contains("READY", 0)
    vm.console.write_bytes(b"not READY\r\n\xff\xfe\r\nREADY t=1\r\n")
    assert console.contains("READY", 0)
    assert console.contains("not READY", 0)
    assert not console.contains("EADY", 0)
    assert not console.contains("READY", console.size())


def test_a_console_that_grows_too_long_is_cut_and_keeps_counting(vm: VmDir) -> None:
    vm.update()
    console = Console(vm)
    vm.console.write_bytes(b"0123456789")
    console.cut(10)
    assert console.read(0, 100) == (0, b"0123456789", 10)
    console.cut(9)
    assert vm.console.stat().st_size == 0
    with vm.console.open("ab") as file:
        file.write(b"abc")
    assert console.read(0, 100) == (10, b"abc", 13)
    assert console.read(12, 100) == (12, b"c", 13)
    assert console.read(99, 100) == (13, b"", 13)


def test_a_process_is_told_by_number_start_and_boot() -> None:
    import os

    mine = mark(os.getpid())
    assert mine is not None
    assert mine.boot == boot_id()
    assert alive(mine)
    assert not alive(ProcessMark(mine.pid, mine.start + 1, mine.boot))
    assert not alive(ProcessMark(mine.pid, mine.start, "another boot"))
    assert not alive(None)
