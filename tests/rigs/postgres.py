"""A private PostgreSQL for the tests: own folder, own port on loopback and on a unix socket, gone afterwards.

It never touches a server that runs on the machine. PostgreSQL refuses to run as root, so under root it runs as
the user its Debian package creates.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from sqlalchemy import create_engine, make_url, text

from rigs.ports import free_port

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
}
START_SECONDS = 180


class Postgres:
    """A running server; hands out empty databases."""

    def __init__(self, binaries: Path, folder: Path, port: int, account: str | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._account = account
        self._numbers = itertools.count(1)
        self._output = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self._folder / "data"

    def start(self) -> None:
        """Create the cluster of databases and wait until the server answers."""
        self._run("initdb", "-D", str(self.data), "-U", "flyinglow", "-A", "trust", "-E", "UTF8", "--no-sync")
        settings = dict(SETTINGS, listen_addresses="127.0.0.1", port=str(self.port))
        settings["unix_socket_directories"] = str(self._folder)
        options = [f"--{name}={value}" for name, value in settings.items()]
        # Our own child, not pg_ctl's: so that it is also ours to collect when it has ended.
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *options], **self._how(output)
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the server at once, with all its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_SECONDS)

    def create_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"test{next(self._numbers)}"
        where = ("-h", str(self._folder), "-p", str(self.port), "-U", "flyinglow")
        self._run("createdb", *where, "-T", "template0", "-E", "UTF8", "--lc-collate=C", "--lc-ctype=C", name)
        return f"postgresql+psycopg://flyinglow@127.0.0.1:{self.port}/{name}"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (self.data / "postmaster.pid").exists() or "ready" not in (self.data / "postmaster.pid").read_text():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._said()}")
            time.sleep(0.02)

    def _how(self, output: BinaryIO) -> dict[str, Any]:
        how: dict[str, Any] = {"cwd": self._folder, "stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        if self._account is not None:
            how.update(user=self._account, group=self._account, extra_groups=[])
        return how

    def _run(self, program: str, *arguments: str) -> None:
        with self._output.open("ab") as output:
            outcome = subprocess.run([self._binaries / program, *arguments], check=False, **self._how(output))
        if outcome.returncode:
            raise RuntimeError(f"{program} ended with {outcome.returncode}:\n{self._said()}")

    def _said(self) -> str:
        return self._output.read_text(errors="replace")[-2000:]


def find_binaries() -> Path | None:
    """Find the folder of the newest PostgreSQL server on this machine, or None."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def find_account() -> str | None:
    """Name the account to run the server as: None for our own, or under root the one made for it."""
    if os.geteuid() != 0:
        return None
    names = [entry.pw_name for entry in pwd.getpwall()]
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a private server for the length of the block; skip the test where PostgreSQL is not installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server programs are not installed; see tools/system-packages.sh test")
    account = find_account()
    # Not pytest's own folder: its path may be too long for a unix socket and closed to another account.
    folder = Path(tempfile.mkdtemp(prefix="flpg"))
    try:
        if account is not None:
            shutil.chown(folder, account)
        server = Postgres(binaries, folder, free_port(), account)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Give one private server for the whole session (one a worker under xdist)."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """Give the SQLAlchemy URL of an empty database."""
    return postgres.create_database()


@pytest.fixture
def new_postgres_url(postgres: Postgres) -> Callable[[], str]:
    """Give a function that creates an empty database and returns its URL, as often as it is called."""
    return postgres.create_database


def end_holders(url: str) -> None:
    """End the connections that hold advisory locks in a database, as a server that is restarted does."""
    statement = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    here = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.execute(text(statement + here)).scalars().all()
    engine.dispose()
