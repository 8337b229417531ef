"""Send a service what nobody would send, for as long as one likes: ``make fuzz``.

Two ways, over the same endpoints with a real store and a simulated back-end: ``made`` changes the samples of the
reference at random (``rigs/messages.py``), and ``found`` lets atheris look for bytes that lead the envelope's path to
places where it has not been; what it finds stays in ``corpus``, and is where it starts the next time.

It ends with 1, and the message that did it in a file, when an endpoint raised, or failed without saying under which
incident, or met an error that nobody raised on purpose.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

CORPUS = HERE / "corpus"
EVERY = 20_000  # messages to one service, whose store grows


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("way", choices=["made", "found"])
    parser.add_argument("--messages", type=int, default=1_000_000, help="how many (made) or runs (found)")
    parser.add_argument("--seconds", type=int, default=0, help="or for how long; 0: for as long as that takes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="where what went wrong is kept")
    return parser.parse_args()


class Findings:
    """What went wrong, a file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.count = 0

    def keep(self, message: Any, trouble: str) -> None:
        """Write it down."""
        self.count += 1
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{message.service}-{self.count}"
        path.with_suffix(".txt").write_text(f"{trouble}\n{message!r}\n")
        path.with_suffix(".xml").write_bytes(message.body)
        print(f"{trouble}: kept in {path}.xml")


class Asked:
    """Asks one service after the other, each on a store of its own."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._site: Any = None
        self.answers: Counter[int] = Counter()
        self._left = 0

    def __call__(self, message: Any) -> None:
        """Send one message, and look at the answer."""
        from rigs.whole_endpoints import complaint

        site = self.site()
        bugs = len(site.bugs)
        try:
            answer = site.ask(message)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is what is looked for
            self._findings.keep(message, f"{type(error).__name__}: {error}")
            return
        self.answers[answer.status if answer else 0] += 1
        trouble = complaint(message, answer) or "; ".join(site.bugs[bugs:])
        if trouble:
            self._findings.keep(message, trouble)

    def site(self) -> Any:
        """Return the service whose turn it is."""
        from rigs.whole_endpoints import WholeEndpoints

        if self._left == 0:
            self.close()
            self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
            self._site = WholeEndpoints(Path(self._folder.name))
            self._left = EVERY
        self._left -= 1
        return self._site

    def close(self) -> None:
        """End the one there is."""
        if self._site is not None:
            self._site.close()
            self._folder.cleanup()
            self._site = None


def made(chosen: argparse.Namespace, ask: Asked) -> int:
    """Send messages of our own making; return how many."""
    from rigs.messages import Maker

    draw = random.Random(chosen.seed)  # to be had again, not to be secret
    until = time.monotonic() + (chosen.seconds or float("inf"))
    for sent in range(chosen.messages):
        if time.monotonic() > until:
            return sent
        ask(Maker(draw, ask.site().known()).message())
        if sent and sent % 50_000 == 0:
            print(f"{sent} messages: {dict(sorted(ask.answers.items()))}", flush=True)
    return int(chosen.messages)


def found(chosen: argparse.Namespace, ask: Asked) -> None:
    """Let atheris make the bytes; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["flyinglow.wsrf", "flyinglow.notification", "flyinglow.factory"]):
        from rigs.messages import SERVICES, Message
        from rigs.whole_endpoints import complaint

        del complaint  # imported here, so that what it imports is watched
    seeds = chosen.findings / "seeds"
    _sow(seeds)
    CORPUS.mkdir(exist_ok=True)

    def one(data: bytes) -> None:
        which = data[0] if data else 0
        service, soap = SERVICES[which // 2 % len(SERVICES)], ("1.1", "1.2")[which % 2]
        ask(Message(service, soap, data[1:]))
        if ask._findings.count:
            raise RuntimeError("see above")

    limits = [f"-max_total_time={chosen.seconds}"] if chosen.seconds else [f"-runs={chosen.messages}"]
    artifacts = f"-artifact_prefix={chosen.findings}{os.sep}"
    atheris.Setup([sys.argv[0], *limits, "-max_len=8192", "-timeout=60", artifacts, str(CORPUS), str(seeds)], one)
    atheris.Fuzz()


def _sow(seeds: Path) -> None:
    """Write the samples of the reference as messages to begin with."""
    from rigs.messages import SERVICES, samples

    seeds.mkdir(parents=True, exist_ok=True)
    for number, (service, body) in enumerate(samples()):
        text = (
            b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>' % body
        )
        (seeds / f"sample-{number:03d}").write_bytes(bytes([SERVICES.index(service) * 2]) + text)


def main() -> int:
    """Run what the command line says."""
    chosen = options()
    findings = Findings(chosen.findings)
    ask = Asked(findings)
    if chosen.way == "found":
        found(chosen, ask)
        return 0
    sent = made(chosen, ask)
    ask.close()
    print(f"{sent} messages, answered {dict(sorted(ask.answers.items()))}; {findings.count} findings")
    return 1 if findings.count else 0


if __name__ == "__main__":
    sys.exit(main())
