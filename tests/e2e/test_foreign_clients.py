"""SOAP stacks that we did not write lease, read and destroy a workspace, and receive what the service notifies.

Each client is a small program in ``clients/`` that knows nothing of ours but the URL of a WSDL.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from suds import metrics  # noqa: F401 # its parser takes for granted that somebody imported this
from suds.sax.parser import Parser

from flyinglow.client import Disk, Nic, Part, Resource, Site
from flyinglow.client.watch import Watch
from rigs.daemon import Daemon

pytestmark = pytest.mark.xdist_group("foreign-clients")

CLIENTS = Path(__file__).parent / "clients"
WSDL = Path(__file__).parents[2] / "wsdl" / "consumer.wsdl"
INSTALL = "it is installed by `make packages clients` (tools/system-packages.sh and tools/node-clients.sh)"
STATES = {"Unpropagated", "Propagated", "Running"}
PART = Part(name="wn", memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))


def php() -> list[str]:
    """Return the words that run a PHP program; fail where there is none."""
    program = shutil.which("php") or pytest.fail(f"there is no php: {INSTALL}")
    modules = subprocess.run([program, "-m"], capture_output=True, text=True, check=True, timeout=180).stdout
    if "soap" not in modules.splitlines():
        pytest.fail(f"php has no SoapClient: {INSTALL}")
    return [program]


def node() -> list[str]:
    """Return the words that run a Node.js program; fail where there is none, or no ``soap`` for it."""
    program = shutil.which("node") or pytest.fail(f"there is no node: {INSTALL}")
    if not (CLIENTS / "node_modules" / "soap").is_dir():
        pytest.fail(f"node's package soap is missing: {INSTALL}")
    return [program]


def python() -> list[str]:
    """Return the words that run a Python program with the installed stacks."""
    return [sys.executable]


def lease(words: list[str], program: str, *arguments: str) -> dict[str, Any]:
    """Run a client and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    argv = [*words, str(CLIENTS / program), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("words", "program", "version"),
    [
        (python, "lease_zeep.py", ["1.1"]),
        (python, "lease_zeep.py", ["1.2"]),
        (php, "lease.php", ["1.1"]),
        (php, "lease.php", ["1.2"]),
        (node, "lease.js", []),
        (python, "lease_suds.py", []),
    ],
)
def test_a_foreign_client_leases_reads_and_destroys(
    shared: Daemon, site: Site, words: Callable[[], list[str]], program: str, version: list[str]
) -> None:
    found = lease(words(), program, shared.url, "foreign", *version)
    assert found["name"] == "foreign"
    assert found["address"] == f"{shared.url}/workspace"
    assert found["states"][-1] == "Running"
    assert set(found["states"]) <= STATES
    assert found["afterwards"] == "ResourceUnknownFault"
    assert list(site.list()) == []


@contextmanager
def lines(argv: list[str]) -> Iterator[queue.Queue[str]]:
    """Run a program and give the lines that it prints, as they come."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            found.put(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield found
    finally:
        process.kill()
        process.wait(120)
        reader.join(120)
        process.stdout.close()


def live_and_die(site: Site, address: str) -> Resource:
    """Lead a workspace through its whole life while a foreign consumer at ``address`` is told of it."""
    whole = site.create([PART], name="wn").whole
    Watch(whole, address).subscribe()
    whole.wait("Running", timeout=120)
    whole.pause()
    whole.wait("Paused", timeout=120)
    whole.destroy()
    return whole


def test_a_consumer_that_node_made_from_our_wsdl_receives_every_notification(shared: Daemon, site: Site) -> None:
    with lines([*node(), str(CLIENTS / "consumer.js"), str(WSDL)]) as printed:
        port = int(printed.get(timeout=120))
        whole = live_and_die(site, f"http://127.0.0.1:{port}/sink")
        payloads: list[tuple[str, dict[str, Any]]] = []
        while not payloads or payloads[-1][0] != "TerminationNotice":
            notify = json.loads(printed.get(timeout=120))
            for message in in_list(notify["NotificationMessage"]):
                payloads += [(name, value) for name, value in message["Message"].items() if name != "attributes"]
                parameters = message["ProducerReference"]["ReferenceParameters"]
                assert whole.id in json.dumps(parameters)
    sequences = [int(value["attributes"]["sequence"]) for _, value in payloads]
    assert sequences == sorted(set(sequences))
    assert "Paused" in [value.get("State") for name, value in payloads if name == "StateChange"]
    assert all(value["Source"]["Name"] == "wn" for _, value in payloads)


def in_list(value: Any) -> list[Any]:
    """Return a list: node's ``soap`` gives one element as itself and several as a list."""
    return value if isinstance(value, list) else [value]


class Sink(BaseHTTPRequestHandler):
    """Takes SOAP messages and reads them with the parser of suds, which resolves prefixes by itself."""

    protocol_version = "HTTP/1.1"
    received: queue.Queue[Any]

    def do_POST(self) -> None:
        """Answer 204, as some stacks do to a one-way message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.put((self.headers, Parser().parse(string=body).root()))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_what_is_notified_can_be_read_by_another_parser_and_204_is_taken_for_yes(shared: Daemon, site: Site) -> None:
    received: queue.Queue[Any] = queue.Queue()
    handler = type("Handler", (Sink,), {"received": received})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            live_and_die(site, f"http://127.0.0.1:{server.server_address[1]}/any/where?at=all")
            topics: list[str] = []
            identifiers: list[str] = []
            while "termination" not in topics:
                headers, envelope = received.get(timeout=120)
                identifiers.append(envelope.childAtPath("Header/MessageID").getText())
                assert headers["Content-Type"].startswith("text/xml")
                assert headers["SOAPAction"].strip('"').endswith("/NotificationConsumer/Notify")
                for message in envelope.childAtPath("Body/Notify").getChildren("NotificationMessage"):
                    prefix, _, name = message.getChild("Topic").getText().partition(":")
                    assert message.getChild("Topic").resolvePrefix(prefix)[1] == "urn:flyinglow:types:1"
                    topics.append(name)
        finally:
            server.shutdown()
            thread.join(120)
    assert set(topics) == {"state", "termination"}
    assert len(set(identifiers)) == len(identifiers)
