"""The four files by which cloud-init's data source NoCloud learns what a machine is to be.

All of them are YAML, written as JSON, which is YAML too: nothing that a lessee writes can break out of its string. The
lessee's user data goes through as it is; what the service has to say besides is vendor data then, and user data where
he gave none. See cloud-init's documentation: "NoCloud", "Networking config version 2", "Vendor data".
"""

from __future__ import annotations

import base64
import json
from typing import Any

from flyinglow.nodectl.context import files, told
from flyinglow.nodectl.messages import NicSpec, VmSpec

HEADER = "#cloud-config\n"
CONTEXT = "/etc/flyinglow/context"
STATIC = "static"
PRIVATE = "0600"  # the context has the word by which a guest reports


def seed(spec: VmSpec) -> dict[str, bytes]:
    """Return the files by name."""
    found = {"meta-data": _yaml(meta_data(spec)), "user-data": spec.user_data.encode("utf-8", "surrogatepass")}
    ours = HEADER.encode() + _yaml(cloud_config(spec))
    found["vendor-data" if spec.user_data else "user-data"] = ours
    if spec.nics:
        found["network-config"] = _yaml(network_config(spec.nics))
    return found


def meta_data(spec: VmSpec) -> dict[str, Any]:
    """Return who the machine is. Keys stand here too, where no user data hides them."""
    found: dict[str, Any] = {"instance-id": f"fl-{spec.tag}"}
    if spec.hostname:
        found["local-hostname"] = spec.hostname
    if spec.keys:
        found["public-keys"] = list(spec.keys)
    return found


def cloud_config(spec: VmSpec) -> dict[str, Any]:
    """Return what is to be set up at the first boot: host name, keys, hosts, the context and the lessee's files."""
    found: dict[str, Any] = {}
    if spec.hostname:
        found["hostname"] = spec.hostname
        found["preserve_hostname"] = False
    if spec.keys:
        found["ssh_authorized_keys"] = list(spec.keys)
    written = [_file(file.path, f"{file.mode:04o}", files.content(file)) for file in spec.files]
    if spec.context:
        written.insert(0, _file(CONTEXT, PRIVATE, spec.context.encode("utf-8", "surrogatepass")))
        hosts = told.own_hosts(spec.context, "").encode()
        if hosts:
            written.insert(1, {**_file("/etc/hosts", "0644", hosts), "append": True})
    if written:
        found["write_files"] = written
    return found


def network_config(nics: tuple[NicSpec, ...]) -> dict[str, Any]:
    """Return the network's configuration, version 2: every interface is known by its MAC and takes its leased address.

    DHCP and, for IPv6, router advertisements bring it, unless the network is static.
    """
    return {"version": 2, "ethernets": {f"eth{number}": _nic(number, nic) for number, nic in enumerate(nics)}}


def _nic(number: int, nic: NicSpec) -> dict[str, Any]:
    found: dict[str, Any] = {"match": {"macaddress": nic.mac.lower()}, "set-name": f"eth{number}"}
    if nic.delivery != STATIC:
        return {**found, "dhcp4": True, **({"dhcp6": True} if nic.ip6 is not None else {})}
    found["addresses"] = [f"{nic.ip}/{nic.prefix}", *([f"{nic.ip6}/{nic.prefix6}"] if nic.ip6 is not None else [])]
    # not as routes: cloud-init 22.4 makes ::/64 of ::/0 for some of its renderers
    gateways = {"gateway4": nic.gateway, "gateway6": nic.gateway6}
    found.update({name: gateway for name, gateway in gateways.items() if gateway is not None})
    if nic.dns or nic.dns6:
        found["nameservers"] = {"addresses": [*nic.dns, *nic.dns6]}
    return found


def _file(path: str, mode: str, data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode("ascii")
    return {"path": path, "permissions": mode, "owner": "root:root", "encoding": "b64", "content": text}


def _yaml(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "surrogatepass")
