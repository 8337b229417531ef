"""A client comes again when it is told to, a few times, and only where nothing was carried out."""

from dataclasses import dataclass, field

import pytest

from flyinglow.client.patience import TRIES, patiently, pause_of


@dataclass
class Response:
    status_code: int
    headers: dict[str, str] = field(default_factory=dict)


def sent(*statuses: int) -> tuple[int, list[float]]:
    """Return the last status, and the pauses between the tries."""
    left, pauses = list(statuses), list[float]()
    last = patiently(lambda: Response(left.pop(0), {"Retry-After": "2"}), pauses.append)
    return last.status_code, pauses


def test_it_comes_again_until_it_is_answered() -> None:
    assert sent(200) == (200, [])
    assert sent(429, 503, 500) == (500, [2.0, 2.0])


def test_it_gives_up_in_the_end() -> None:
    assert sent(*[429] * TRIES) == (429, [2.0] * (TRIES - 1))


@pytest.mark.parametrize(
    ("status", "after", "pause"),
    [
        (429, "0", 0.0),
        (503, "30", 30.0),
        (429, "31", None),
        (429, None, None),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", None),
        (429, "-1", None),
        (429, "²", None),
        (500, "1", None),
        (408, "1", None),
    ],
)
def test_when_it_comes_again(status: int, after: str | None, pause: float | None) -> None:
    assert pause_of(status, after) == pause
