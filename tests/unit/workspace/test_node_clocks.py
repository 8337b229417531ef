"""A node's or a guest's clock may be minutes off: nothing that is said to them, or by them, is a time of day."""

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from flyinglow.access.identity import LOCAL
from flyinglow.nodectl.messages import VmInfo
from flyinglow.workspace.context_desk import Desk
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.model import EndAction
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.terms import Terms
from rigs.site import MakeSite, part, whole

ENDPOINT = Endpoint(url="http://10.1.0.1:8482", key=b"k" * 32)
DATE = re.compile(r"\d{4}-\d\d-\d\dT|\d\d:\d\d:\d\d[ Z+]")
LONG = 30 * 86400  # seconds: what is more is a time of day


def leaves(value: Any) -> Iterator[Any]:
    """Give all that a message says."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def test_no_order_and_no_answer_tells_the_time(make_site: MakeSite) -> None:
    site = make_site(endpoint=ENDPOINT, terms=Terms(reports=True))
    created = site.create(
        part("vm"), ready_within=100, duration=900, end_action=EndAction.SAVE, save_uri="store:{name}"
    )
    site.settle(1)
    desk = Desk(site.store, site.clock, site.now)
    token = ENDPOINT.token(site.row("vm").id)
    site.run(desk.report(token, b'{"status": "ok", "values": {"clock": "1969-12-31T23:55:00Z"}}'))
    site.settle(1)
    assert site.states() == {"vm": "Running"}
    answer = site.run(desk.members(token, 0)).body.decode()
    assert not DATE.search(re.sub(r"^value .*$", "", answer, flags=re.MULTILINE))
    for mode in (ShutdownMode.PAUSE, ShutdownMode.REBOOT, ShutdownMode.NORMAL):
        site.workspace.shutdown(LOCAL, whole(created).id, mode)
        site.settle(1)
        site.workspace.start(LOCAL, whole(created).id)
        site.settle(1)
    for _ in range(12):
        site.settle(100)
        site.sweep()
    said = {order.name for _, order in site.simulation.log}
    assert len(said) >= 7
    for _, order in site.simulation.log:
        for leaf in leaves(dict(order.body)):
            assert not (isinstance(leaf, str) and DATE.search(leaf)), order
            assert not (isinstance(leaf, int | float) and leaf > LONG), order
    times = {field.name for field in fields(VmInfo) if field.name.endswith("_at") or "time" in field.name}
    assert times <= {"dropped_at"}, "which says where, not when"
