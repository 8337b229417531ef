"""Load by wrk: the script that makes it send one SOAP request, and what it measured. Pure but for ``run``."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "text/xml; charset=utf-8"
wrk.body = [==[{body}]==]
function done(summary, latency, requests)
  io.write(string.format(
    '\\n{mark}{{"requests": %d, "microseconds": %d, "p50": %f, "p99": %f, "faults": %d, "broken": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
_MARK = "measured "


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run: requests answered per second, and milliseconds of one request."""

    rate: float
    p50: float
    p99: float
    requests: int
    faults: int  # answers that were no 200
    broken: int  # connections lost, requests without an answer


def script(body: bytes) -> str:
    """Return the Lua program that posts ``body`` and writes the figures in one line."""
    text = body.decode()
    if "]==]" in text:
        raise ValueError("this request cannot be written into the script")
    return _SCRIPT.format(body=text, mark=_MARK)


def parse(output: str) -> Load:
    """Read what the script wrote. Raises ValueError when it is not there."""
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise ValueError(f"wrk measured nothing: {output[-500:]}")
    figures = json.loads(line.removeprefix(_MARK))
    return Load(
        rate=figures["requests"] / (figures["microseconds"] / 1e6),
        p50=figures["p50"] / 1000,
        p99=figures["p99"] / 1000,
        requests=figures["requests"],
        faults=figures["faults"],
        broken=figures["broken"],
    )


def run(url: str, body: bytes, *, seconds: float, directory: Path, connections: int = 8) -> Load:
    """Let wrk post ``body`` to ``url``. Raises RuntimeError when an answer was a fault or did not come."""
    program = directory / "request.lua"
    program.write_text(script(body))
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(round(seconds), 1)}s",
        "--timeout",
        "10s",
        "-s",
        str(program),
        url,
    ]
    load = parse(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    if load.faults or load.broken:
        raise RuntimeError(f"{url}: {load.faults} of {load.requests} answers were faults, {load.broken} did not come")
    return load
