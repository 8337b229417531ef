"""A portal in Python with zeep: leases a machine, follows it, and gives it back.

Usage: portal_zeep.py https://HOST:PORT. It trusts the authority in the file CA, and shows CERTIFICATE with KEY or the
token in TOKEN; with SIGN it signs its messages, too. It prints one JSON object.
"""

import json
import os
import sys
import uuid

import requests
import zeep
from lxml import etree

TYPES = "urn:flyinglow:types:1"


def session():
    made = requests.Session()
    made.trust_env = False  # else CA bundles and proxies of the environment go before what is set here
    made.verify = os.environ["CA"]
    if "CERTIFICATE" in os.environ:
        made.cert = (os.environ["CERTIFICATE"], os.environ["KEY"])
    if "TOKEN" in os.environ:
        made.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"
    return made


class Portal:
    def __init__(self, base, wsse=None):
        self.base, self.wsse, self.transport = base, wsse, zeep.Transport(session=session(), operation_timeout=60)
        self.clients = {}

    def service(self, name, port, reference=None):
        """Return what calls a service, at an endpoint reference if it has several resources."""
        if name not in self.clients:
            self.clients[name] = zeep.Client(f"{self.base}/{name}?wsdl", transport=self.transport, wsse=self.wsse)
        address = reference.Address._value_1 if reference else f"{self.base}/{name}"
        return self.clients[name].create_service(f"{{urn:flyinglow:{name}:1:wsdl}}{port}Soap11", address)


def headers(reference):
    """An endpoint reference is opaque: its parameters go back as headers, as they are."""
    return list(reference.ReferenceParameters._value_1) if reference.ReferenceParameters else []


def problem(fault):
    """Return the name, the kind and the figures of a typed fault."""
    detail = fault.detail[0]
    figures = {each.get("name"): int(each.text) for each in detail.iterfind(f"{{{TYPES}}}Figure")}
    kind, retry = (detail.findtext(f"{{{TYPES}}}{name}") for name in ("Kind", "Retryable"))
    return {"fault": etree.QName(detail).localname, "kind": kind, "retry": retry == "true", "figures": figures}


def messages(portal, pull, after):
    """Return the states that events numbered above one tell of, waiting up to 20 s, and the number of the last."""
    more = []
    for name, value in (("After", after), ("Wait", 20)):
        more.append(etree.Element(f"{{{TYPES}}}{name}"))
        more[-1].text = str(value)
    pulling = portal.service("pullpoint", "PullPoint", pull)
    with portal.clients["pullpoint"].settings(raw_response=True):  # the events are of any type, so they are read as XML
        answer = etree.fromstring(pulling.GetMessages(MaximumNumber=10, _value_1=more).content)
    numbers = next(answer.iter(f"{{{TYPES}}}Numbers"))
    states = [each.findtext(f"{{{TYPES}}}State") for each in answer.iter(f"{{{TYPES}}}StateChange")]
    return states, int(numbers.get("last", after))


def main():
    base = sys.argv[1]
    wsse = None
    if "SIGN" in os.environ:
        import xmlsec
        from signing_zeep import WholeSignature

        wsse = WholeSignature(
            os.environ["KEY"], os.environ["CERTIFICATE"], signature_method=xmlsec.Transform.ECDSA_SHA256
        )
    portal = Portal(base, wsse)
    factory = portal.service("factory", "Factory")

    # A token of the client's own makes Create safe to repeat: whoever sends it again gets the same lease.
    part = {"Name": "vm", "MemoryMB": 64, "CPUs": 1, "Disk": [{"Image": "guest"}], "NIC": [{"Network": "private"}]}
    request = {"Name": "portal", "Part": [part], "Lease": {"Duration": "PT10M"}, "Token": uuid.uuid4().hex}
    lease, again = factory.Create(**request), factory.Create(**request)
    reference = lease.Resource[0].EndpointReference
    same = [each.text for each in headers(reference)] == [
        each.text for each in headers(again.Resource[0].EndpointReference)
    ]

    # Events: a pull point needs no port of the portal's own.
    pull = portal.service("pullpoints", "CreatePullPoint").CreatePullPoint().PullPoint
    workspace = portal.service("workspace", "Workspace", reference)
    workspace.Subscribe(ConsumerReference=pull, _soapheaders=headers(reference))
    state = etree.QName(TYPES, "State")
    seen = [workspace.GetResourceProperty(state, _soapheaders=headers(reference))[0]]
    last = 0
    while seen[-1] != "Running":
        states, last = messages(portal, pull, last)
        seen += states

    # Faults have types; what they say is for programs, the text is for people.
    try:
        factory.Create(**{**request, "Token": uuid.uuid4().hex, "Part": [{**part, "MemoryMB": 1 << 20}]})
    except zeep.exceptions.Fault as fault:
        too_much = problem(fault)
    workspace.Destroy(_soapheaders=headers(reference))
    try:
        workspace.GetResourceProperty(state, _soapheaders=headers(reference))
    except zeep.exceptions.Fault as fault:
        gone = problem(fault)["fault"]
    print(json.dumps({"same": same, "states": seen, "too_much": too_much, "gone": gone}))


if __name__ == "__main__":
    main()
