"""The job's key on its way to Grid Engine's hosts: where nobody else can read it, and no longer than it is needed."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from flyinglow.backend.lrm.api import JobRequest, Output, SiteTerms
from flyinglow.backend.lrm.gridengine import deposit
from flyinglow.backend.lrm.gridengine.adapter import GridEngine
from flyinglow.backend.lrm.gridengine.site import read_version
from flyinglow.backend.lrm.jobs import script
from flyinglow.backend.lrm.model import Component

SIZE = Component(nodes=2, memory_mb=500, cpus=1)
JOB = JobRequest(tag="abcdefgh", components=(SIZE,), seconds=90, program=b"program" * 9, settings=b'{"key":"SECRET"}\n')


def laid(directory: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Lay the input down, and run a command in the place of qsub; its input is the job's script."""
    argv, text = deposit.lay(str(directory), JOB, command, b"the script\n")
    return subprocess.run(argv, input=text, capture_output=True, check=False, timeout=20)


def test_the_script_that_grid_engine_keeps_holds_no_key(tmp_path: Path) -> None:
    made = GridEngine(SiteTerms(parallel_environment="spread", shared_directory=str(tmp_path)))
    call = made.submit(JOB)
    done = subprocess.run(
        [*call.argv[: call.argv.index("qsub")], "cat"], input=call.stdin, capture_output=True, check=True, timeout=20
    )
    assert b"qrsh" in done.stdout
    assert b"SECRET" not in done.stdout
    assert not any("SECRET" in word for word in call.argv)
    assert subprocess.run(["sh", "-n"], input=done.stdout, check=False, timeout=20).returncode == 0


def test_the_input_is_laid_down_for_our_user_alone(tmp_path: Path) -> None:
    assert laid(tmp_path, "cat").stdout == b"the script\n"
    (place,) = tmp_path.iterdir()
    (file,) = place.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, file)] == [0o700, 0o600]
    assert b"SECRET" in file.read_bytes()


def test_the_job_takes_it_and_leaves_nothing(tmp_path: Path) -> None:
    laid(tmp_path, "true")
    text = deposit.take(str(tmp_path), JOB) + b"ls -A %s\nfeed\nfeed\n" % str(tmp_path).encode()
    done = subprocess.run(["sh"], input=text, capture_output=True, check=True, timeout=20)
    assert done.stdout == script.stream(JOB) * 2
    assert list(tmp_path.iterdir()) == []


def test_a_second_submit_of_the_same_job_finds_its_place(tmp_path: Path) -> None:
    assert [laid(tmp_path, "true").returncode for _ in range(2)] == [0, 0]


def test_the_answer_of_the_command_is_kept(tmp_path: Path) -> None:
    done = laid(tmp_path, "sh", "-c", "echo refused >&2; exit 7")
    assert (done.returncode, done.stderr) == (7, b"refused\n")


@pytest.mark.parametrize("taken", ["file", "link"])
def test_a_place_that_is_not_ours_is_not_used(tmp_path: Path, taken: str) -> None:
    place, elsewhere = tmp_path / "shared" / ".fl-abcdefgh", tmp_path / "elsewhere"
    place.parent.mkdir()
    elsewhere.mkdir()
    place.symlink_to(elsewhere) if taken == "link" else place.touch()
    done = laid(place.parent, "echo", "submitted")
    assert done.returncode == 1
    assert b"submitted" not in done.stdout
    assert list(elsewhere.iterdir()) == []


def test_what_jobs_of_long_ago_left_is_removed(tmp_path: Path) -> None:
    for name, days in ((".fl-old", 99), (".fl-young", 9), ("other", 99)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - 86400 * days,) * 2)
    laid(tmp_path, "true")
    assert {path.name for path in tmp_path.iterdir()} == {".fl-young", "other", ".fl-abcdefgh"}


def test_a_site_without_a_shared_directory_is_told() -> None:
    said = Output(0, "SGE 8.1.9\n", "")
    assert read_version(said).findings == ()
    assert "shared_directory" in read_version(said, shared=False).findings[0]
    made = GridEngine(SiteTerms(parallel_environment="spread"))
    assert made.survey()[0].read(said).findings
