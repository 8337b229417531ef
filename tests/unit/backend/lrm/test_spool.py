"""The file by which reports come when HTTP fails: appended by one program, read by another, torn in many ways."""

import fcntl
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, succeed

from flyinglow.backend.lrm.intake import spool
from flyinglow.backend.lrm.intake.spool_reader import SpoolReader
from flyinglow.backend.lrm.states import SlotState
from flyinglow.pilot.messages import Kind
from rigs.intake import IntakeWorld, now


class Taker:
    """Takes lines in, or does not."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.works: Callable[[bytes], bool] = lambda line: True

    def take(self, line: bytes) -> Deferred[bool]:
        if self.works(line):
            self.lines.append(line)
        return succeed(self.works(line))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def world() -> IntakeWorld:
    return IntakeWorld()


@pytest.fixture
def taker() -> Taker:
    return Taker()


@pytest.fixture
def reader(path: Path, world: IntakeWorld, taker: Taker) -> SpoolReader:
    return SpoolReader(path, world.ledger, world.clock, taker)


def look(reader: SpoolReader) -> None:
    now(Deferred.fromCoroutine(reader.look()))


def closed(reader: SpoolReader) -> None:
    now(Deferred.fromCoroutine(reader.stop()))


# appending


def test_what_is_appended_is_one_line_each(path: Path) -> None:
    assert spool.main(["append", str(path)], io.BytesIO(b'{"a": 1}\n{"b": 2}')) == 0
    assert spool.main(["append", str(path)], io.BytesIO(b'{"c": 3}\n')) == 0
    assert path.read_bytes() == b'{"a": 1}\n{"b": 2}\n{"c": 3}\n'
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"rm -rf /\n", b'{"a": 1}\nx\n', b"{}\n" * 65, b"{" + b"x" * (256 << 10) + b"}\n", b'{"\xff": 1}\n'],
)
def test_what_cannot_be_a_message_is_not_appended(path: Path, data: bytes) -> None:
    assert spool.main(["append", str(path)], io.BytesIO(data)) == 1
    assert not path.exists()


def test_a_line_that_a_killed_writer_left_spoils_no_other(path: Path) -> None:
    path.write_bytes(b'{"half')
    spool.append(path, [b"{}"])
    assert path.read_bytes() == b'{"half\n{}\n'


def test_a_file_that_nobody_reads_stops_growing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(b"x" * 99 + b"\n")
    with pytest.raises(spool.Refused, match="is full"):
        spool.append(path, [b"{}"], most=102)
    spool.append(path, [b"{}"], most=103)
    os.truncate(path, spool.MAX_FILE)
    assert spool.main(["append", str(path)], io.BytesIO(b"{}")) == 3
    assert "is the service reading it" in capsys.readouterr().err


def test_a_link_is_not_followed(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.symlink_to(tmp_path / "other")
    assert spool.main(["append", str(path)], io.BytesIO(b"{}")) == 4
    assert not (tmp_path / "other").exists()
    assert str(path) in capsys.readouterr().err


def test_writers_wait_for_each_other(path: Path) -> None:
    path.touch()
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writers = [threading.Thread(target=spool.append, args=(path, [b"{%d}" % n] * 9)) for n in range(8)]
        for writer in writers:
            writer.start()
        assert path.stat().st_size == 0
        fcntl.flock(held, fcntl.LOCK_UN)
        for writer in writers:
            writer.join(10)
    lines = path.read_bytes().splitlines()
    assert sorted(lines) == sorted(b"{%d}" % n for n in range(8) for _ in range(9))
    assert all(len(set(lines[at : at + 9])) == 1 for at in range(0, 72, 9))  # no call's lines are torn apart


def test_the_command_needs_nothing_but_python() -> None:
    heavy = "{'twisted', 'sqlalchemy', 'structlog', 'lxml'} & set(sys.modules)"
    code = f"import sys, flyinglow.backend.lrm.intake.spool; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


# reading


def test_lines_are_taken_once_and_in_their_order(path: Path, reader: SpoolReader, taker: Taker) -> None:
    look(reader)  # there is no file yet
    spool.append(path, [b"{1}", b"{2}"])
    look(reader)
    look(reader)
    spool.append(path, [b"{3}"])
    look(reader)
    assert taker.lines == [b"{1}", b"{2}", b"{3}"]
    closed(reader)


def test_a_partial_line_waits_for_its_end(path: Path, reader: SpoolReader, taker: Taker) -> None:
    path.write_bytes(b"{1}\n{2")
    look(reader)
    assert taker.lines == [b"{1}"]
    with path.open("ab") as file:
        file.write(b"2}\n")
    look(reader)
    assert taker.lines == [b"{1}", b"{22}"]
    closed(reader)


def test_a_restart_goes_on_where_the_last_run_stopped(
    path: Path, reader: SpoolReader, taker: Taker, world: IntakeWorld
) -> None:
    spool.append(path, [b"{1}", b"{2}"])
    look(reader)
    closed(reader)
    spool.append(path, [b"{3}"])
    again = SpoolReader(path, world.ledger, world.clock, taker)
    look(again)
    assert taker.lines == [b"{1}", b"{2}", b"{3}"]
    closed(again)


def test_what_could_not_be_stored_is_read_again(path: Path, reader: SpoolReader, taker: Taker) -> None:
    spool.append(path, [b"{1}", b"{2}", b"{3}"])
    taker.works = lambda line: line != b"{2}"
    look(reader)
    assert taker.lines == [b"{1}"]
    taker.works = lambda line: True
    look(reader)
    assert taker.lines == [b"{1}", b"{2}", b"{3}"]
    closed(reader)


def test_a_file_that_was_replaced_is_read_to_its_end_and_then_the_new_one(
    path: Path, reader: SpoolReader, taker: Taker
) -> None:
    spool.append(path, [b"{1}"])
    look(reader)
    spool.append(path, [b"{2}"])
    path.rename(path.with_suffix(".1"))
    spool.append(path, [b"{3}"])
    look(reader)
    assert taker.lines == [b"{1}", b"{2}", b"{3}"]
    closed(reader)


@pytest.mark.parametrize("restart", [False, True])
def test_a_file_that_was_written_anew_is_read_from_its_beginning(
    path: Path, reader: SpoolReader, taker: Taker, world: IntakeWorld, restart: bool
) -> None:
    spool.append(path, [b"{1}", b"{2}"])
    look(reader)
    if restart:
        closed(reader)
        reader = SpoolReader(path, world.ledger, world.clock, taker)
    os.truncate(path, 0)
    spool.append(path, [b"{3}"])  # shorter
    look(reader)
    os.truncate(path, 0)
    spool.append(path, [b"{4}", b"{5}"])  # longer than what was read
    look(reader)
    assert taker.lines == [b"{1}", b"{2}", b"{3}", b"{4}", b"{5}"]
    closed(reader)


def test_a_file_that_went_away_comes_again(path: Path, reader: SpoolReader, taker: Taker) -> None:
    spool.append(path, [b"{1}"])
    look(reader)
    path.unlink()
    look(reader)
    spool.append(path, [b"{2}"])
    look(reader)
    assert taker.lines == [b"{1}", b"{2}"]
    closed(reader)


def test_garbage_without_end_is_passed_over(path: Path, reader: SpoolReader, taker: Taker) -> None:
    path.write_bytes(os.urandom(100).replace(b"\n", b"") + b"\0" * (3 << 20) + b"\n")
    spool.append(path, [b"{1}"])
    look(reader)
    assert taker.lines[-1] == b"{1}"
    closed(reader)


def test_a_large_file_is_emptied_when_it_was_read(path: Path, reader: SpoolReader, taker: Taker) -> None:
    spool.append(path, [b"{%s}" % (b"x" * 200_000)] * 6)
    look(reader)
    assert path.stat().st_size == 0
    spool.append(path, [b"{1}"])
    look(reader)
    assert taker.lines[-1] == b"{1}"
    assert len(taker.lines) == 7
    closed(reader)


def test_it_looks_by_the_clock_and_a_trouble_does_not_stop_it(
    path: Path, reader: SpoolReader, taker: Taker, world: IntakeWorld
) -> None:
    path.mkdir()  # cannot be opened for writing
    reader.start()
    world.clock.advance(1)
    path.rmdir()
    spool.append(path, [b"{1}"])
    world.clock.advance(1)
    assert taker.lines == [b"{1}"]
    closed(reader)
    assert not world.clock.getDelayedCalls()


def test_reports_from_the_spool_and_by_http_in_any_mixture(path: Path, world: IntakeWorld) -> None:
    reader = SpoolReader(path, world.ledger, world.clock, world.intake)
    pilot = world.bound()
    ready, signalled, released = (pilot.report(kind) for kind in (Kind.READY, Kind.SIGNALLED, Kind.RELEASED))
    assert world.say(pilot, signalled).ack == 1  # the one before it went by the spool
    spool.append(path, [ready, signalled, b"{}"])
    look(reader)
    assert world.slot(pilot.slot).state is SlotState.PREEMPTING
    assert world.say(pilot, ready).ack == 3
    assert world.say(pilot, released).ack == 4
    spool.append(path, [released, signalled])
    look(reader)
    assert world.slot(pilot.slot).state is SlotState.RELEASED
    assert [row.sequence for row in world.trail(pilot.slot)] == [1, 2, 3, 4]
    closed(reader)
