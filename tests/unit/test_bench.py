"""The pure parts of the measurements: percentiles, verdicts, the order of messages, what wrk said, the table."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that imports one module of bench/, whose modules are scripts beside each other."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


@pytest.mark.parametrize(
    "name", ["figures", "launch", "node_slots", "notify", "report", "reports", "standing", "throughput"]
)
def test_each_measurement_finds_what_it_uses_of_the_product(bench: Any, name: str) -> None:
    assert bench(name).__doc__


def test_percentiles_are_values_that_were_measured(bench: Any) -> None:
    figures = bench("rows")
    values = [float(at) for at in range(100, 0, -1)]
    assert [figures.percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert figures.median([3.0, 1.0, 2.0]) == 2.0
    with pytest.raises(ValueError, match="nothing"):
        figures.percentile([], 0.5)


def test_a_bound_itself_is_met(bench: Any) -> None:
    figures = bench("rows")
    assert [figures.at_least(800).met(value) for value in (799.9, 800)] == [False, True]
    assert [figures.at_most(5).met(value) for value in (5, 5.1)] == [True, False]


def test_messages_out_of_order_are_counted_by_line(bench: Any) -> None:
    count = bench("rows").out_of_order
    assert count([("a", 1), ("b", 1), ("a", 2), ("b", 5)]) == 0
    assert count([("a", 2), ("a", 1), ("a", 3)]) == 1
    assert count([("a", 1), ("a", 1)]) == 1


def test_growth_is_one_when_time_grows_as_size_does(bench: Any) -> None:
    growth = bench("rows").growth
    assert growth({1: 9.0, 16: 0.16, 256: 2.56}) == pytest.approx(1.0)
    assert growth({16: 0.1, 256: 3.2}) == pytest.approx(2.0)


def test_what_wrk_wrote_is_read(bench: Any) -> None:
    wrk = bench("wrk")
    line = '{"requests": 500, "microseconds": 2000000, "p50": 4000, "p99": 9000, "faults": 1, "broken": 2}'
    load = wrk.parse(f"Running 2s test\n\nmeasured {line}\n")
    assert (load.rate, load.p50, load.p99, load.faults, load.broken) == (250, 4, 9, 1, 2)
    with pytest.raises(ValueError, match="measured nothing"):
        wrk.parse("unable to connect")


def test_a_request_that_would_end_the_script_is_refused(bench: Any) -> None:
    wrk = bench("wrk")
    assert "<a/>" in wrk.script(b"<a/>")
    with pytest.raises(ValueError, match="script"):
        wrk.script(b"]==]")


def test_requests_fit_the_schemas(bench: Any) -> None:
    from flyinglow.wsrf.contract import Contract

    messages = bench("messages")
    url = "http://127.0.0.1:1/workspace/1"
    bodies = [
        messages.get_state(url),
        messages.create(url, count=3, network="private", consumer="http://127.0.0.1:2/0"),
        messages.subscribe(url, "http://127.0.0.1:2/0", "schedule"),
        messages.set_end(url, 60),
        messages.destroy(url),
        messages.list_page(url, "0" * 32, 100),
    ]
    for body in bodies:
        Contract.packaged().validate(etree.fromstring(body)[1][0])


def test_the_answer_to_create_is_read(bench: Any) -> None:
    messages = bench("messages")
    sample = (BENCH.parent / "docs" / "samples" / "factory-Create-response.xml").read_bytes()
    assert [kind for kind, _ in messages.resources(sample)] == [
        *("ensemble", "workspace", "workspace", "group", "workspace", "workspace")
    ]
    assert len(set(messages.subscriptions(sample))) == 6


def test_consumers_read_the_sample_of_a_notification(bench: Any) -> None:
    sample = BENCH.parent / "docs" / "samples" / "consumer-Notify-request.xml"
    found = bench("consumers").read(sample.read_bytes())
    assert [(sequence, text) for _, sequence, text in found if "Running" in text] == [(2, "ensemble Running")]


def test_the_table_tells_what_was_missed(bench: Any) -> None:
    figures, report = bench("rows"), bench("report")
    rows = [
        figures.Row(part="SOAP", name="Create", value=150.0, unit="/s", p50=1.0, p99=2.0, target=figures.at_least(200)),
        figures.Row(part="At rest", name="memory", value=90.0, unit="MB", target=figures.at_most(120)),
        figures.Row(part="At rest", name="extra", value=1234.0, unit="/s", beside="pair"),
    ]
    text = report.markdown(rows, {"machine": "2 cores"})
    assert "| Create | 150 /s | 1 | 2 | ≥ 200 /s | **not met** |  |" in text
    assert "1 of 2 targets met." in text
    assert "Not met: SOAP, Create." in text
    assert "| extra | 1,234 /s |  |  |  |  | pair |" in text


def test_the_parts_of_a_lease_make_up_its_whole(bench: Any) -> None:
    records, splits = bench("records"), bench("splits")
    vm = records.Vm(key="a", accepted=10.1, started=14.5, finished=21.0, seconds={"image": 0.5, "started": 3.0})
    said = {
        "hello": records.Report(sent=10.9, stored=10.95, body={"seconds_up": 0.1}),
        "ready": records.Report(sent=11.0, stored=11.1, body={}),
        "releasing": records.Report(sent=21.5, stored=21.6, body={}),
        "released": records.Report(sent=22.0, stored=22.1, body={}),
    }
    pilot = records.Pilot(slot="t.0", requested=10.2, reports=said)
    cycle = splits.Cycle(size=1, sent=10.0, told={"a": 14.7}, ended=20.0, vms=[vm], pilots=[pilot])
    assert cycle.slots == pytest.approx(1.1)
    assert sum(splits.end_to_end(cycle).values()) == pytest.approx(cycle.total)
    assert splits.end_to_end(cycle) == pytest.approx({"slot": 1.0, "vms": 3.6, "processing": 0.1})
    assert splits.slot(cycle) == pytest.approx({"LRM": 0.7, "pilot": 0.2, "ping": 0.1})
    assert splits.vms(cycle) == pytest.approx({"invoke": -0.1, "create": 3.5, "post": 0.2})
    assert splits.destruction(cycle) == pytest.approx({"destroy": 1.0, "signal": 0.5, "restore": 0.6})


def test_a_mean_stands_with_its_deviation(bench: Any) -> None:
    found = bench("splits").stats([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}])
    assert (found["a"].mean, found["a"].count, found["sum"].mean) == (2.0, 2, 4.0)
    assert found["a"].deviation == pytest.approx(2**0.5)
    assert found["b"].deviation == 0.0
