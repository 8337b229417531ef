"""Notifications a second to fifty consumers, and how long one takes; all of them in order."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import messages
from consumers import Consumers
from messages import Caller
from rows import Row, at_least, at_most, median, number, out_of_order, percentile
from service import Service

from bench import Bench, until

CONSUMERS = 50
PACED = 10  # events a second, each to every consumer


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """One burst: messages and requests a second from the first to the last arrival, and how many came wrong."""

    rate: float
    requests: float
    wrong: int


def measure(bench: Bench) -> list[Row]:
    """Subscribe fifty consumers to the schedule of one workspace, then move its end again and again."""
    events = 100 if bench.quick else 400
    consumers = Consumers(CONSUMERS)
    try:
        with bench.service("notify", backend='kind = "simulated"') as service:
            url = _workspace(service, consumers)
            below, floods = [], []
            for turn in range(bench.rounds + 1):
                floods.append(_flood(url, consumers, events if turn else 40))
                below.append(_floor(bench, consumers, events if turn else 10))
                bench.say(f"{floods[-1].rate:7.0f}/s, {floods[-1].requests:.0f} requests/s; floor {below[-1]:.0f}/s")
            late, wrong = _paced(url, consumers, 30 if bench.quick else 100)
    finally:
        consumers.close()
    return _rows(floods[1:], below[1:], late, wrong)


def _rows(floods: list[Flood], below: list[float], late: list[float], wrong: int) -> list[Row]:
    requests, under = median([flood.requests for flood in floods]), median(below)
    beside = f"in {number(requests)} requests/s; floor, one message a request: {number(under)}/s"
    disorder = wrong + sum(flood.wrong for flood in floods)
    return [
        Row(
            part="SOAP",
            name=f"Notify to {CONSUMERS} consumers",
            value=median([flood.rate for flood in floods]),
            unit="/s",
            p50=percentile(late, 0.5) * 1000,
            p99=percentile(late, 0.99) * 1000,
            target=at_least(1500),
            beside=f"{beside}; p50 and p99: request to arrival at {PACED * CONSUMERS} messages/s",
        ),
        Row(part="SOAP", name="Notify, out of order or twice", value=disorder, unit="", target=at_most(0)),
    ]


def _workspace(service: Service, consumers: Consumers) -> str:
    caller = Caller(service.url)
    key = messages.resources(caller.post(service.factory, messages.create(service.factory)))[0][1]
    url = service.resource("workspace", key)
    until(lambda: b"Running" in caller.post(url, messages.get_state(url)), 20, "a running workspace")
    for consumer in consumers.urls:
        caller.post(url, messages.subscribe(url, consumer, "schedule"))
    return url


def _flood(url: str, consumers: Consumers, events: int) -> Flood:
    """Make so many events as fast as two callers can, and wait for all messages."""
    consumers.ask("clear")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda first: _extend(url, range(first, events, 2)), (0, 1)))
    return _judge(consumers, events)


def _judge(consumers: Consumers, events: int) -> Flood:
    wanted = events * CONSUMERS
    if (came := consumers.ask("wait", wanted, 120)) != wanted:
        raise RuntimeError(f"{came} messages came, {wanted} were due")
    report = consumers.ask("report")
    arrivals = [seen[4] for seen in report["seen"]]
    span = max(arrivals) - min(arrivals)
    return Flood(rate=wanted / span, requests=report["requests"] / span, wrong=_wrong(report))


def _wrong(report: Any) -> int:
    return out_of_order([(f"{consumer} {line}", sequence) for consumer, line, sequence, *_ in report["seen"]])


def _extend(url: str, numbers: range) -> None:
    caller = Caller(url)
    for at in numbers:
        caller.post(url, messages.set_end(url, 3600 + at))
    caller.close()


def _paced(url: str, consumers: Consumers, events: int) -> tuple[list[float], int]:
    """Make events at a steady pace; return the seconds from each request to each arrival, and how many came wrong."""
    consumers.ask("clear")
    caller, sent = Caller(url), []
    began = time.monotonic()
    for at in range(events):
        time.sleep(max(began + at / PACED - time.monotonic(), 0))
        sent.append(time.monotonic())
        caller.post(url, messages.set_end(url, 7200 + at))
    if consumers.ask("wait", events * CONSUMERS, 60) != events * CONSUMERS:
        raise RuntimeError("messages are missing")
    report = consumers.ask("report")
    first = min(seen[2] for seen in report["seen"])
    return [at - sent[sequence - first] for _, _, sequence, _, at in report["seen"]], _wrong(report)


def _floor(bench: Bench, consumers: Consumers, events: int) -> float:
    """Return the messages a second of a bare sender of the same content."""
    body = bench.directory / "notify.xml"
    body.write_bytes(NOTIFY)
    argv = [sys.executable, str(Path(__file__).with_name("sender_floor.py")), str(body), str(events), *consumers.urls]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return events * CONSUMERS / float(done.stdout)


NOTIFY = b"""<?xml version='1.0' encoding='utf-8'?>
<s11:Envelope xmlns:s11="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing" \
xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:fl="urn:flyinglow:types:1"><s11:Header><wsa:Action>\
http://docs.oasis-open.org/wsn/bw-2/NotificationConsumer/Notify</wsa:Action><wsa:MessageID>\
urn:uuid:0b6a2f7e-93d1-4c58-a4e7-5d1f8b2c6a90</wsa:MessageID><wsa:To>http://127.0.0.1:40123/0</wsa:To></s11:Header>\
<s11:Body><wsnt:Notify><wsnt:NotificationMessage><wsnt:SubscriptionReference><wsa:Address>http://127.0.0.1:8480/\
subscription/9d1e5b7a3c8f4e60b2a4c6d8e0f1a3b5</wsa:Address></wsnt:SubscriptionReference><wsnt:Topic \
Dialect="http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple">fl:schedule</wsnt:Topic><wsnt:ProducerReference>\
<wsa:Address>http://127.0.0.1:8480/workspace</wsa:Address><wsa:ReferenceParameters><fl:ResourceID>\
5b0e3d1c9a7f4e2d8c6b1a0f3e5d7c9b</fl:ResourceID></wsa:ReferenceParameters></wsnt:ProducerReference><wsnt:Message>\
<fl:ScheduleChange sequence="3"><fl:Source><fl:Kind>workspace</fl:Kind><fl:Name>wn</fl:Name></fl:Source><fl:Time>\
2026-03-01T12:00:03Z</fl:Time><fl:TerminationTime>2026-03-01T16:00:00Z</fl:TerminationTime><fl:Reason>\
the end of the lease was moved</fl:Reason></fl:ScheduleChange></wsnt:Message></wsnt:NotificationMessage></wsnt:Notify>\
</s11:Body></s11:Envelope>"""
