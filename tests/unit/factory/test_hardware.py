"""What a part asks for of its nodes' hardware: read, refused, told apart, kept, and written by the client."""

from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from flyinglow.cli import request_file
from flyinglow.client import Disk
from flyinglow.client import Part as Asked
from flyinglow.client.request import Request, values
from flyinglow.factory.digest import digest
from flyinglow.factory.hardware_checks import check
from flyinglow.factory.request_xml import read_create
from flyinglow.nodectl.errors import FlyingLowError, InvalidError, NeverError
from flyinglow.store import codec
from flyinglow.workspace.model import Hardware
from flyinglow.workspace.terms import HardwareTerms
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract, ContractError
from rigs.site import part, request

ALL = Hardware(dedicated_cpus=True, numa_node=1, huge_pages=True, devices=("gpu", "gpu"))
SITE = HardwareTerms(dedicated_cpus=True, numa_nodes=2, huge_pages=True, devices={"gpu": 2, "nic": 1})


def _read(inner: str) -> Hardware:
    body = etree.fromstring(
        '<Create xmlns="urn:flyinglow:factory:1"><Name>one</Name><Part><Name>ce</Name><MemoryMB>512</MemoryMB>'
        f"<CPUs>2</CPUs><Disk><Image>minimal</Image></Disk>{inner}</Part></Create>"
    )
    Contract.packaged().validate(body)
    return read_create(body, Addresses("http://site.example")).parts[0].hardware


def test_a_part_is_read() -> None:
    text = "<DedicatedCPUs>true</DedicatedCPUs><NUMANode>1</NUMANode><HugePages>1</HugePages>"
    assert _read(f"<Hardware>{text}<Device>gpu</Device><Device>gpu</Device></Hardware>") == ALL
    assert _read("<Hardware/>") == _read("") == Hardware()


@pytest.mark.parametrize(
    "inner",
    [
        "<NUMANode>-1</NUMANode>",
        "<NUMANode>1024</NUMANode>",
        "<Device>0000:3b:00.0</Device>",
        "<Device/>",
        "<Device>a b</Device>",
        "<Device>gpu</Device>" * 17,
        "<HugePages>many</HugePages>",
        "<PCI>0000:3b:00.0</PCI>",
    ],
)
def test_what_the_schema_refuses(inner: str) -> None:
    with pytest.raises(ContractError):
        _read(f"<Hardware>{inner}</Hardware>")


@pytest.mark.parametrize(
    ("asked", "site", "error", "words"),
    [
        ({"dedicated_cpus": True}, {"dedicated_cpus": False}, NeverError, "CPUs of its own"),
        ({"huge_pages": True}, {"huge_pages": False}, NeverError, "huge pages"),
        ({"numa_node": 0}, {"numa_nodes": 0}, NeverError, "a NUMA node"),
        ({"numa_node": 2}, {}, NeverError, "NUMA nodes 0 to 1"),
        ({"devices": ("gpu",) * 3}, {}, NeverError, "has 2 of 'gpu'"),
        ({"devices": ("fpga",)}, {}, InvalidError, r"there are: gpu, nic"),
        ({"devices": ("gpu",)}, {"devices": {}}, InvalidError, r"there are: none"),
    ],
)
def test_what_the_site_does_not_offer(
    asked: dict[str, Any], site: dict[str, Any], error: type[FlyingLowError], words: str
) -> None:
    plain = {"dedicated_cpus": True, "numa_nodes": 2, "huge_pages": True, "devices": {"gpu": 2, "nic": 1}}
    with pytest.raises(error, match=words):
        check(part(hardware=Hardware(**asked)), HardwareTerms(**{**plain, **site}))


def test_what_the_site_offers_passes_and_is_another_request() -> None:
    check(part(hardware=ALL), SITE)
    check(part(), HardwareTerms())
    assert digest(request(part(hardware=ALL))) != digest(request(part()))


@pytest.mark.parametrize("hardware", [Hardware(), ALL, Hardware(numa_node=0), Hardware(devices=("nic",))])
def test_it_is_kept_as_it_is(hardware: Hardware) -> None:
    assert codec.load_hardware(codec.dump_hardware(hardware)) == hardware


def test_the_client_writes_it_and_a_request_file_says_it(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(
        'name = "one"\n[[parts]]\nname = "a"\nmemory_mb = 64\ndisks = [{image = "i"}]\n'
        'dedicated_cpus = true\nnuma_node = 0\nhuge_pages = true\ndevices = ["gpu", "gpu"]\n'
    )
    (asked,) = request_file.read(file)["parts"]
    made: dict[str, Any] = {"dedicated_cpus": True, "numa_node": 0, "huge_pages": True, "devices": ("gpu", "gpu")}
    assert asked == Asked(name="a", memory_mb=64, disks=(Disk(image="i"),), **made)
    (told,) = values(Request(name="one", parts=(asked,), token="t"))["Part"]
    assert told["Hardware"] == {"DedicatedCPUs": True, "NUMANode": 0, "HugePages": True, "Device": ["gpu", "gpu"]}
    plain = Asked(name="a", memory_mb=64)
    assert "Hardware" not in values(Request(name="one", parts=(plain,), token="t"))["Part"][0]
