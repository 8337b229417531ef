"""The text that carries a pilot: what a shell makes of it is exactly the program and its settings."""

import io
import json
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyinglow.backend.lrm.api import JobRequest
from flyinglow.backend.lrm.jobs import script
from flyinglow.nodectl.errors import InvalidError

PROGRAM = b"import sys, json; print(json.dumps([sys.argv[1:], sys.stdin.readline()]))\n"


def request(program: bytes, line: bytes) -> JobRequest:
    """Make a request that carries these."""
    return JobRequest(tag="abcdefgh", components=(), seconds=60, program=program, settings=line)


def carried(job: JobRequest) -> subprocess.CompletedProcess[bytes]:
    """Do on this machine what a job does on a node."""
    text = script.feed(job) + f"rank=3 node=n4\nfeed | ({script.pilot(sys.executable, '$rank', '$node')})\n".encode()
    return subprocess.run(["sh"], input=text, capture_output=True, check=False, timeout=30)


def test_program_and_settings_arrive() -> None:
    """With the rank and the node that the shell has."""
    done = carried(request(PROGRAM, b'{"key": "$(id) `id` \\\\ \'"}\n'))
    assert json.loads(done.stdout) == [["--rank", "3", "--node", "n4"], '{"key": "$(id) `id` \\\\ \'"}\n']


def test_a_zip_runs_from_memory() -> None:
    """With modules of its own."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("__main__.py", "import inner; print(inner.WORD)")
        archive.writestr("inner.py", "WORD = 'from the zip'")
    assert carried(request(out.getvalue(), b"{}")).stdout == b"from the zip\n"


def test_a_stream_that_breaks_off_starts_nothing() -> None:
    """And says so."""
    text = script.pilot(sys.executable, "0", "n")
    cut = script.stream(request(PROGRAM, b"{}"))[:20]
    done = subprocess.run(["sh", "-c", text], input=cut, capture_output=True, check=False, timeout=30)
    assert done.returncode == 1
    assert b"did not reach this node in full" in done.stderr


@given(program=st.binary(max_size=300), line=st.text(max_size=80))
@settings(max_examples=40)
def test_a17_the_shell_changes_nothing(program: bytes, line: str) -> None:
    """Whatever bytes a program has, whatever a line of JSON holds."""
    job = request(program, json.dumps(line).encode())
    done = subprocess.run(["sh"], input=script.feed(job) + b"feed\n", capture_output=True, check=True, timeout=30)
    assert done.stdout == script.stream(job)


@pytest.mark.parametrize("line", [b"{}\n#SBATCH -N9", b"{}\0", b"FLYINGLOW_END_OF_INPUT", b"FLYINGLOW_END_OF_INPUT\n"])
def test_settings_are_one_line(line: bytes) -> None:
    """Nothing in them can end the text that carries them."""
    with pytest.raises(InvalidError):
        script.feed(request(b"", line))
