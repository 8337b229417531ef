"""Sends one operation and returns the answer's body element. zeep writes the messages, from the packaged contract.

The WSDLs and schemas of this package are what is spoken, so no network is needed to learn it; where to send comes
with each call. zeep adds the WS-Addressing headers that the WSDLs' actions ask for (Action, MessageID, To), this
module adds the reference parameters.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flyinglow.client import bearer, faults, over_tls
from flyinglow.client.names import clark
from flyinglow.client.patience import patiently
from flyinglow.client.reading import elements, parse
from flyinglow.nodectl.errors import BrokenError, InvalidError, TransientError

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.client.credential import Credential
    from flyinglow.client.epr import Epr

_BINDINGS: Final = {
    "subscription": "SubscriptionManager",
    "pullpoints": "CreatePullPoint",
    "pullpoint": "PullPoint",
    "broker": "NotificationBroker",
}
_OK: Final = 200


class LostError(TransientError):
    """The connection failed, so it is not known whether the service did what it was asked for."""

    hint = "try again; does the service run, and is that its address? --service URL names another one"


class Wire:
    """Calls operations; may be used by several threads. ``timeout`` is seconds for connecting and for each answer.

    Its connections are its own: one that another wire has kept may lead elsewhere, though to the same address.
    Over https, ``credential`` is what it shows, and whose word it takes for who the service is.
    """

    def __init__(self, timeout: float, credential: Credential | None = None) -> None:
        self.timeout = timeout
        self._credential = credential
        self._clients: dict[tuple[str, bool], Any] = {}

    def call(self, service: str, operation: str, to: Epr, /, *arguments: Any, **parts: Any) -> _Element:
        """Send ``operation`` of ``wsdl/<service>.wsdl`` to an endpoint and return the child of the answer's Body.

        Raises the FlyingLowError that the fault stands for, LostError (a TransientError) naming the URL when the
        service cannot be reached or falls silent, and InvalidError for what the schema does not allow.
        """
        import zeep.exceptions  # noqa: PLC0415 # a third of a second that importing this library must not cost

        client = self._client(service, _is_loopback(to.address))
        binding = f"{{urn:flyinglow:{service}:1:wsdl}}{_BINDINGS.get(service, service.capitalize())}Soap11"
        call = getattr(client.create_service(binding, to.address), operation, None)
        if call is None:
            raise InvalidError(f"a {service} has no operation {operation}")
        try:
            with client.settings(raw_response=True):
                response = patiently(lambda: call(*arguments, _soapheaders=to.headers(), **parts))
        except OSError as error:
            if (refusal := over_tls.refusal(error, to.address)) is not None:
                raise refusal from error
            raise LostError(f"the service at {to.address} cannot be reached: {_why(error)}") from error
        except (zeep.exceptions.ValidationError, TypeError, ValueError) as error:
            raise InvalidError(f"the request does not fit the contract: {error}") from error
        return _body(response.status_code, response.content, to.address)

    def _client(self, service: str, direct: bool) -> Any:
        """Return a zeep client for a packaged WSDL; ``direct`` never goes through a proxy."""
        import zeep  # noqa: PLC0415 # see above

        if (service, direct) not in self._clients:
            transport = zeep.Transport(timeout=self.timeout, operation_timeout=self.timeout)
            transport.session.trust_env = not direct
            if self._credential is not None:
                transport.session.mount("https://", over_tls.adapter(self._credential.context()))
                if self._credential.token_file is not None:
                    transport.session.auth = bearer.shower(self._credential.token_file)
            signing = self._credential.signing() if self._credential else None
            settings = zeep.Settings(forbid_dtd=True)
            made = zeep.Client(_wsdl(service), wsse=signing, transport=transport, settings=settings)
            self._clients.setdefault((service, direct), made)
        return self._clients[service, direct]


def _body(status: int, content: bytes, url: str) -> _Element:
    try:
        envelope = parse(content)
    except BrokenError:
        raise faults.of_status(status, url) from None
    fault = faults.find(envelope)
    if fault is not None:
        raise faults.read(fault)
    body = envelope.find(clark("s11:Body"))
    answer = None if body is None else next(elements(body), None)
    if status != _OK or answer is None:
        raise faults.of_status(status, url)
    return answer


def _why(error: OSError) -> str:
    text = str(error)
    for known in ("Connection refused", "timed out", "Name or service not known", "Connection reset"):
        if known in text:
            return known.lower()
    return text


@lru_cache
def _is_loopback(url: str) -> bool:
    return bearer.is_loopback(urlsplit(url).hostname or "")


@lru_cache
def _wsdl(service: str) -> Any:
    """Return a packaged WSDL as zeep has read it."""
    import zeep.wsdl  # noqa: PLC0415 # see above

    file = resources.files("flyinglow.wsdl").joinpath(f"{service}.wsdl")
    return zeep.wsdl.Document(str(file), zeep.Transport(), settings=zeep.Settings(forbid_dtd=True))
