"""SOAP messages as text, for tests that send what no client library would."""

from __future__ import annotations

import http.client
from typing import Final

from lxml import etree
from lxml.etree import _Element

from rigs.daemon import Daemon

S11: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
S12: Final = "{http://www.w3.org/2003/05/soap-envelope}"


def send(daemon: Daemon, path: str, body: str, header: str = "", soap: str = S11) -> tuple[int, _Element]:
    """Send a message; return status and envelope of the answer."""
    text = f'<s:Envelope xmlns:s="{soap[1:-1]}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    kind = "text/xml" if soap == S11 else "application/soap+xml"
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
    try:
        connection.request("POST", path, text.encode(), {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, etree.fromstring(answer.read())
    finally:
        connection.close()


def ask(daemon: Daemon, path: str, body: str, header: str = "") -> str:
    """Send a message; return the name of the answer, or of the fault's detail, or "" for a fault without one.

    A fault must be the caller's own.
    """
    answer = send(daemon, path, body, header)[1].find(f"{S11}Body")
    assert answer is not None
    if answer[0].tag != f"{S11}Fault":
        return str(etree.QName(answer[0]).localname)
    assert answer[0].findtext("faultcode", "").endswith("Client")
    detail = answer[0].find("detail")
    return "" if detail is None else str(etree.QName(detail[0]).localname)
