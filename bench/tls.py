"""What TLS with certificates costs beside plain HTTP: a call on a new connection, and on one that is kept."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import messages
from rows import Row, median, number, percentile
from service import START_SECONDS, Service

from bench import Bench

_EXTENSIONS = """\
[host]
subjectAltName = IP:127.0.0.1
[user]
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
[proxy]
keyUsage = critical,digitalSignature
proxyCertInfo = critical,language:id-ppl-inheritAll
"""
_KINDS = ("plain HTTP", "a certificate", "a proxy")


class Grid:
    """An authority, a host's certificate, a user's and a proxy of it: RSA of 2048 bits, as grids have them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.authorities = directory / "certificates"
        self.authorities.mkdir()
        (directory / "extensions").write_text(_EXTENSIONS)
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                      "-subj", "/O=Grid/CN=CA", "-days", "2")  # fmt: skip
        hashed = self._openssl("x509", "-in", "ca.pem", "-noout", "-hash").strip()
        (self.authorities / f"{hashed}.0").write_bytes((directory / "ca.pem").read_bytes())
        self._issue("host", "/O=Grid/CN=localhost", "ca")
        self._issue("user", "/O=Grid/CN=Alice", "ca")
        self._issue("proxy", "/O=Grid/CN=Alice/CN=12345", "user")
        with (directory / "proxy.pem").open("ab") as chain:
            chain.write((directory / "user.pem").read_bytes())

    def _openssl(self, *words: str) -> str:
        return subprocess.run(
            ["openssl", *words], cwd=self.directory, capture_output=True, text=True, check=True
        ).stdout

    def _issue(self, name: str, subject: str, issuer: str) -> None:
        request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        self._openssl(*request, "-subj", subject)
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key"]
        how = ["-days", "1", "-CAcreateserial", "-extfile", "extensions", "-extensions", name]
        self._openssl(*sign, *how, "-out", f"{name}.pem")

    def context(self, name: str) -> ssl.SSLContext:
        """Return what a client shows."""
        made = ssl.create_default_context(capath=str(self.authorities))
        made.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        return made


class SecuredService(Service):
    """A service that knows its callers by certificates."""

    def __init__(self, root: Path, grid: Grid) -> None:
        self._grid = grid
        super().__init__(root)

    def _toml(self, backend: str) -> str:
        here = self._grid.directory
        keys = f'certificate = "{here}/host.pem"\nprivate_key = "{here}/host.key"\nca_directory = "{here}/certificates"'
        return super()._toml(backend).replace("[listen.client]\n", f"[listen.client]\n{keys}\n")

    def _until_it_answers(self) -> None:
        context = self._grid.context("user")
        while True:
            try:
                ask(connection(self, context), self)
            except OSError:
                if time.monotonic() > self.started + START_SECONDS:
                    raise
                time.sleep(0.05)
            else:
                return


@dataclass
class Taken:
    """Milliseconds of each call, and of the service's processor for one."""

    new: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    new_cpu: list[float] = field(default_factory=list)
    kept_cpu: list[float] = field(default_factory=list)


def connection(service: Service, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    return http.client.HTTPSConnection("127.0.0.1", service.port, timeout=60, context=context)


def ask(to: http.client.HTTPConnection, service: Service) -> None:
    to.request("POST", "/factory", messages.list_page(service.factory, None, 1), messages.HEADERS)
    answer = to.getresponse()
    text = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{answer.status}: {text!r}")


def _timed(times: int, service: Service, act: Callable[[], None]) -> tuple[list[float], float]:
    taken, before = [], service.cpu_seconds()
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
    return taken, (service.cpu_seconds() - before) * 1000 / times


def _turn(times: int, service: Service, context: ssl.SSLContext | None, into: Taken) -> None:
    def anew() -> None:
        with closing(connection(service, context)) as one:
            ask(one, service)

    taken, cpu = _timed(times, service, anew)
    into.new += taken
    into.new_cpu.append(cpu)
    with closing(connection(service, context)) as kept:
        ask(kept, service)
        taken, cpu = _timed(times, service, lambda: ask(kept, service))
    into.kept += taken
    into.kept_cpu.append(cpu)


def measure(bench: Bench) -> list[Row]:
    """Measure one call after another, by plain HTTP, by a certificate and by a proxy in turns."""
    times, turns = 50, 1 if bench.quick else 6 * bench.rounds  # short turns: other load comes and goes
    grid = Grid(bench.directory / "grid")
    found = {kind: Taken() for kind in _KINDS}
    with bench.service("plain") as plain:
        secured = SecuredService(bench.directory / "secured", grid)
        for path in (grid.directory, *grid.directory.rglob("*")):
            secured.give(path)
        try:
            secured.start()
            contexts = {"a certificate": grid.context("user"), "a proxy": grid.context("proxy")}
            for turn in range(turns):
                for kind, into in found.items():
                    _turn(times, secured if kind in contexts else plain, contexts.get(kind), into)
                bench.say(f"turn {turn + 1} of {turns}")
        finally:
            secured.stop()
    return [row for kind, into in found.items() for row in _rows(kind, into, found[_KINDS[0]])]


def _rows(kind: str, taken: Taken, plain: Taken) -> list[Row]:
    rows = []
    for name, values, cpu, below, cpu_below in (
        ("a call on a new connection", taken.new, taken.new_cpu, plain.new, plain.new_cpu),
        ("a call on a kept connection", taken.kept, taken.kept_cpu, plain.kept, plain.kept_cpu),
    ):
        own = f"{number(fmean(cpu))} ms of the service's processor"
        more = f", {number(fmean(cpu) - fmean(cpu_below))} more than in plain HTTP"
        rows.append(
            Row(
                part="TLS",
                name=f"{name}, {kind}",
                value=median(values) - (median(below) if values is not below else 0.0),
                unit="ms more" if values is not below else "ms",
                p50=median(values),
                p99=percentile(values, 0.99),
                beside=own + (more if values is not below else ""),
            )
        )
    return rows
