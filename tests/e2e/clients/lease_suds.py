"""Usage: lease_suds.py BASE_URL NAME

Leases a workspace with suds, waits until it runs, destroys it, asks once more; prints one JSON object.
Over https it trusts the authority in the file CA, and shows CERTIFICATE with KEY or the token in TOKEN.
"""

import json
import os
import ssl
import sys
import time
from typing import Any
from urllib.request import HTTPSHandler

from suds import WebFault
from suds.client import Client
from suds.sax.element import Element
from suds.transport.http import HttpTransport

PROPERTY = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>%s</s:Header><s:Body>
<rp:GetResourceProperty xmlns:rp="http://docs.oasis-open.org/wsrf/rp-2" xmlns:fl="urn:flyinglow:types:1"
>fl:State</rp:GetResourceProperty></s:Body></s:Envelope>"""


class Transport(HttpTransport):  # type: ignore[misc] # suds is untyped
    """suds has no option for certificates: what opens its URLs is made here."""

    def u2handlers(self) -> list[Any]:
        """Add the context to what suds uses."""
        context = ssl.create_default_context(cafile=os.environ.get("CA"))
        if "CERTIFICATE" in os.environ:
            context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["KEY"])
        return [*super().u2handlers(), HTTPSHandler(context=context)]


def client(url: str) -> Any:
    token = os.environ.get("TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client(f"{url}?wsdl", cache=None, transport=Transport(timeout=120), headers=headers)


def main() -> None:
    base, name = sys.argv[1:]
    factory = client(f"{base}/factory")
    factory.set_options(port="FactoryPort")
    part = {"Name": name, "MemoryMB": 64, "CPUs": 1, "Disk": [{"Image": "guest"}], "NIC": [{"Network": "private"}]}
    answer = factory.service.Create(Name=name, Part=[part], Lease={"Duration": "PT10M"})
    resource = answer.Resource[0]
    address = getattr(resource.EndpointReference.Address, "value", resource.EndpointReference.Address)
    headers = []
    for key, value in resource.EndpointReference.ReferenceParameters:
        text = value[0] if isinstance(value, list) else value
        headers.append(Element(key, ns=("p", "urn:flyinglow:types:1")).setText(str(getattr(text, "value", text))))
    workspace = client(f"{base}/workspace")
    workspace.set_options(port="WorkspacePort", location=str(address), soapheaders=headers)

    # suds writes no QName, so this message is written by hand
    header = "".join(str(each) for each in headers).encode()

    def state() -> str:
        found = workspace.service.GetResourceProperty(__inject={"msg": PROPERTY % header})
        value = found[0] if isinstance(found, list) else found.State
        return str(value[0] if isinstance(value, list) else value)

    states: list[str] = []
    deadline = time.monotonic() + 120
    while "Running" not in states and time.monotonic() < deadline:
        states.append(state())
        time.sleep(0.02)
    workspace.service.Destroy()
    try:
        afterwards = state()
    except WebFault as fault:
        afterwards = fault.fault.detail.__keylist__[0]
    found = {"name": str(resource.Name), "address": str(address), "states": states, "afterwards": afterwards}
    sys.stdout.write(json.dumps(found))


main()
