"""A25: a hundred creates at once at the edge of a quota; exactly the quota succeeds, on each database."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from lxml import etree

from flyinglow.client import connect
from flyinglow.nodectl.errors import DeniedError
from rigs.daemon import Daemon
from rigs.raw_soap import S11, send
from rigs.waiting import eventually

QUOTA = 7
POLICY = f"""
[policy.everybody]
running = {QUOTA}
minutes = 1000
[access]
default_policy = "everybody"
[notification]
allow_loopback = true
"""
CREATE = (
    '<Create xmlns="urn:flyinglow:factory:1"><Name>vm</Name><Part><Name>vm</Name><MemoryMB>16</MemoryMB>'
    "<CPUs>1</CPUs><Disk><Image>guest</Image></Disk></Part><Lease><Duration>PT10M</Duration></Lease></Create>"
)


def _create(daemon: Daemon, body: str = CREATE) -> tuple[str, dict[str, str]]:
    answer = send(daemon, "/factory", body)[1].find(f"{S11}Body")
    assert answer is not None
    detail = answer.find(f"{S11}Fault/detail")
    found = answer[0] if detail is None else detail[0]
    figures = {str(each.get("name")): each.text or "" for each in found if etree.QName(each).localname == "Figure"}
    return etree.QName(found).localname, figures


def test_a25_of_a_hundred_creates_at_once_exactly_the_quota_succeeds(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml=POLICY)
    with ThreadPoolExecutor(25) as threads:
        outcomes = list(threads.map(lambda _: _create(daemon), range(100)))
    assert Counter(name for name, _ in outcomes) == {"CreateResponse": QUOTA, "DeniedFault": 100 - QUOTA}
    told = next(figures for name, figures in outcomes if name == "DeniedFault")
    assert told == {"running.limit": str(QUOTA), "running.used": str(QUOTA), "running.asked": "1"}
    next(connect(daemon.url).list()).resource.destroy()
    eventually(lambda: _create(daemon)[0] == "CreateResponse", 120)
    assert _create(daemon)[0] == "DeniedFault"


def test_a25_groups_and_extensions_at_once_stay_within_the_quota(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml=POLICY.replace("minutes = 1000", "minutes = 100"))
    pair = CREATE.replace("<MemoryMB>", "<Count>2</Count><MemoryMB>")
    assert _create(daemon)[0] == "CreateResponse"
    (first,) = [each.resource for each in connect(daemon.url).list("workspace")]
    began = datetime.now(UTC)

    def ask(at: int) -> str:
        if at % 2:
            return _create(daemon, pair)[0]
        try:
            connect(daemon.url).resource(first.url).set_end(began + timedelta(minutes=20 + at))
        except DeniedError:
            return "denied"
        return "extended"

    with ThreadPoolExecutor(12) as threads:
        outcomes = Counter(threads.map(ask, range(60)))
    ends = [each.resource.properties().ends_at or began for each in connect(daemon.url).list("workspace")]
    assert outcomes["CreateResponse"] * 2 + 1 == len(ends) <= QUOTA
    assert outcomes["extended"] + outcomes["CreateResponse"] > 0
    assert outcomes["denied"] + outcomes["DeniedFault"] > 0
    assert sum((end - began).total_seconds() for end in ends) <= 100 * 60 + 60 * len(ends)
