"""Generated messages against the real services with a real store: a shorter run of what ``make fuzz`` does."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigs.messages import SERVICES, Maker, Message
from rigs.whole_endpoints import WholeEndpoints, complaint

FUZZ = Path(__file__).parents[2] / "fuzz"
CORPUS = FUZZ / "corpus"


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[WholeEndpoints]:
    site = WholeEndpoints(tmp_path)
    yield site
    site.close()


@pytest.mark.parametrize("seed", [1])
def test_every_generated_message_is_answered(whole: WholeEndpoints, seed: int) -> None:
    draw, statuses = random.Random(seed), Counter[int]()
    for _ in range(600):
        message = Maker(draw, whole.known()).message()
        answer = whole.ask(message)
        assert complaint(message, answer) == "", message
        statuses[answer.status if answer else 0] += 1
    assert whole.bugs == []
    assert statuses[200] > 10
    assert statuses[500] > 100


def test_what_once_led_to_a_new_place_is_answered(whole: WholeEndpoints) -> None:
    kept = sorted(CORPUS.iterdir())
    assert kept
    for path in kept:
        data = path.read_bytes()
        which = data[0] if data else 0
        message = Message(SERVICES[which // 2 % len(SERVICES)], ("1.1", "1.2")[which % 2], data[1:])
        assert complaint(message, whole.ask(message)) == "", path.name
    assert whole.bugs == []


def test_a_failure_is_found_and_kept(tmp_path: Path) -> None:
    """The fuzzer finds what is broken: here, a service whose store has gone."""
    broken = (
        "import sys; sys.argv = ['fuzz', 'made', '--messages', '2000', '--findings', sys.argv[1]]\n"
        f"import runpy; sys.path[:0] = [{str(FUZZ.parent)!r}]\n"
        "from flyinglow.factory.service import FactoryService\n"
        "def boom(*a, **k): raise RuntimeError('boom')\n"
        "FactoryService.list = FactoryService.offers = FactoryService.validate = FactoryService.create = boom\n"
        f"runpy.run_path({str(FUZZ / '__main__.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken, str(tmp_path / "found")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "RuntimeError: boom" in done.stdout
    assert list((tmp_path / "found").glob("factory-*.xml"))
