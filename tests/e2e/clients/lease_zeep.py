"""Usage: lease_zeep.py BASE_URL NAME 1.1|1.2

Leases a workspace with nothing but zeep, waits until it runs, destroys it, asks once more; prints one JSON object.
Over https it trusts the authority in the file CA, and shows CERTIFICATE with KEY or the token in TOKEN.
"""

import json
import os
import sys
import time

import requests
import zeep
from lxml import etree


def session() -> requests.Session:
    made = requests.Session()
    made.trust_env = False
    made.verify = os.environ.get("CA") or True
    if "CERTIFICATE" in os.environ:
        made.cert = (os.environ["CERTIFICATE"], os.environ["KEY"])
    if "TOKEN" in os.environ:
        made.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"
    return made


def main() -> None:
    transport = zeep.Transport(session=session())
    base, name, version = sys.argv[1:]
    number = version.replace(".", "")
    factory = zeep.Client(f"{base}/factory?wsdl", transport=transport).create_service(
        f"{{urn:flyinglow:factory:1:wsdl}}FactorySoap{number}", f"{base}/factory"
    )
    part = {"Name": name, "MemoryMB": 64, "CPUs": 1, "Disk": [{"Image": "guest"}], "NIC": [{"Network": "private"}]}
    answer = factory.Create(Name=name, Part=[part], Lease={"Duration": "PT10M"})
    reference = answer.Resource[0].EndpointReference
    address = reference.Address._value_1
    client = zeep.Client(f"{base}/workspace?wsdl", transport=transport)
    client.set_default_soapheaders(reference.ReferenceParameters._value_1)
    workspace = client.create_service(f"{{urn:flyinglow:workspace:1:wsdl}}WorkspaceSoap{number}", address)
    state = etree.QName("urn:flyinglow:types:1", "State")
    states: list[str] = []
    deadline = time.monotonic() + 120
    while "Running" not in states and time.monotonic() < deadline:
        states.append(workspace.GetResourceProperty(state)[0])
        time.sleep(0.02)
    workspace.Destroy()
    try:
        afterwards = str(workspace.GetResourceProperty(state))
    except zeep.exceptions.Fault as fault:
        afterwards = etree.QName(fault.detail[0]).localname
    found = {"name": answer.Resource[0].Name, "address": address, "states": states, "afterwards": afterwards}
    sys.stdout.write(json.dumps(found))


main()
