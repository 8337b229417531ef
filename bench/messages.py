"""The SOAP requests that are measured, as bytes, and how one is sent outside of a measurement."""

from __future__ import annotations

import http.client
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:wsa="http://www.w3.org/2005/08/addressing">'
    "<s:Header><wsa:To>{to}</wsa:To><wsa:Action>{action}</wsa:Action>"
    "<wsa:MessageID>urn:uuid:0b6a2f7e-93d1-4c58-a4e7-5d1f8b2c6a90</wsa:MessageID></s:Header><s:Body>"
)
_TAIL = "</s:Body></s:Envelope>"
_RW = "http://docs.oasis-open.org/wsrf"
_WSNT = 'xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"'
_FLF = 'xmlns:flf="urn:flyinglow:factory:1"'

HEADERS = {"Content-Type": "text/xml; charset=utf-8"}


def _message(to: str, action: str, body: str) -> bytes:
    return (_HEAD.format(to=to, action=action) + body + _TAIL).encode()


def get_state(to: str) -> bytes:
    """Ask a workspace for its state."""
    action = f"{_RW}/rpw-2/GetResourceProperty/GetResourcePropertyRequest"
    body = '<rp:GetResourceProperty xmlns:rp="http://docs.oasis-open.org/wsrf/rp-2" xmlns:fl="urn:flyinglow:types:1">'
    return _message(to, action, f"{body}fl:State</rp:GetResourceProperty>")


def create(
    to: str, *, count: int = 1, network: str | None = None, consumer: str | None = None, memory_mb: int = 64
) -> bytes:
    """Lease ``count`` workspaces alike, with ``consumer`` subscribed to the states of all of them."""
    nic = f"<flf:NIC><flf:Network>{network}</flf:Network></flf:NIC>" if network else ""
    part = (
        f"<flf:Part><flf:Name>wn</flf:Name><flf:Count>{count}</flf:Count><flf:MemoryMB>{memory_mb}</flf:MemoryMB>"
        f"<flf:CPUs>1</flf:CPUs><flf:Disk><flf:Image>guest</flf:Image></flf:Disk>{nic}</flf:Part>"
    )
    watch = subscription(consumer) if consumer else ""
    body = (
        f"<flf:Create {_FLF}><flf:Name>bench</flf:Name>{part}"
        f"<flf:Lease><flf:Duration>PT2H</flf:Duration></flf:Lease>{watch}</flf:Create>"
    )
    return _message(to, "urn:flyinglow:factory:1/Factory/CreateRequest", body)


def subscription(consumer: str, topic: str = "state") -> str:
    """Return the wsnt:Subscribe element for one topic."""
    return (
        f'<wsnt:Subscribe {_WSNT} xmlns:fl="urn:flyinglow:types:1"><wsnt:ConsumerReference>'
        f"<wsa:Address>{consumer}</wsa:Address></wsnt:ConsumerReference><wsnt:Filter><wsnt:TopicExpression "
        f'Dialect="http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple">fl:{topic}</wsnt:TopicExpression>'
        "</wsnt:Filter></wsnt:Subscribe>"
    )


def subscribe(to: str, consumer: str, topic: str) -> bytes:
    action = "http://docs.oasis-open.org/wsn/bw-2/NotificationProducer/SubscribeRequest"
    return _message(to, action, subscription(consumer, topic))


def set_end(to: str, seconds: int) -> bytes:
    """Move the end of a lease to so many seconds from now: one event, of the topic schedule."""
    at = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    action = f"{_RW}/rlw-2/ScheduledResourceTermination/SetTerminationTimeRequest"
    inner = f"<rl:RequestedTerminationTime>{at}</rl:RequestedTerminationTime>"
    body = f'<rl:SetTerminationTime xmlns:rl="http://docs.oasis-open.org/wsrf/rl-2">{inner}</rl:SetTerminationTime>'
    return _message(to, action, body)


def destroy(to: str) -> bytes:
    action = f"{_RW}/rlw-2/ImmediateResourceTermination/DestroyRequest"
    return _message(to, action, '<rl:Destroy xmlns:rl="http://docs.oasis-open.org/wsrf/rl-2"/>')


def list_page(to: str, after: str | None, limit: int) -> bytes:
    cursor = f"<flf:After>{after}</flf:After>" if after else ""
    body = f"<flf:List {_FLF}>{cursor}<flf:Limit>{limit}</flf:Limit></flf:List>"
    return _message(to, "urn:flyinglow:factory:1/Factory/ListRequest", body)


class Caller:
    """One connection that is kept, for requests one after another."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)

    def post(self, url: str, body: bytes) -> bytes:
        """Send a request and return the answer. Raises RuntimeError with what came instead of a 200."""
        self._connection.request("POST", urlsplit(url).path, body, HEADERS)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {content[-1500:].decode(errors='replace')}")
        return content

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()


_RESOURCE = re.compile(rb"<flf:Kind>(\w+)</flf:Kind>.*?<fl:ResourceID[^>]*>([0-9a-f]+)</fl:ResourceID>", re.DOTALL)


def resources(answer: bytes) -> list[tuple[str, str]]:
    """Return (kind, id) of every resource in an answer to Create or List, in its order."""
    return [(kind.decode(), key.decode()) for kind, key in _RESOURCE.findall(answer)]


def subscriptions(answer: bytes) -> list[str]:
    """Return the ids of the subscriptions in an answer to Create."""
    return [key.decode() for key in re.findall(rb"/subscription/(\w+)<", answer)]
