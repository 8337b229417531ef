"""Create messages become plain values."""

from datetime import UTC, datetime

import pytest
from lxml import etree

from flyinglow.factory.model import CreateRequest, Part
from flyinglow.factory.request_xml import read_create
from flyinglow.nodectl.errors import InvalidError, UnknownError
from flyinglow.workspace.model import Allocation, Context, Disk, EndAction, File, InitialState, Nic
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract

ADDRESSES = Addresses("http://site.example")
PART = "<Part><Name>ce</Name><MemoryMB>512</MemoryMB><CPUs>2</CPUs><Disk><Image>minimal</Image></Disk></Part>"
ALLOCATION = Allocation(memory_mb=512, cpus=2)


def read(inner: str) -> CreateRequest:
    body = etree.fromstring(f'<Create xmlns="urn:flyinglow:factory:1">{inner}</Create>')
    Contract.packaged().validate(body)
    return read_create(body, ADDRESSES)


def test_the_least_request_leaves_the_rest_to_the_site() -> None:
    part = Part(name="ce", allocation=ALLOCATION, disks=(Disk(name="", image="minimal"),))
    assert read(f"<Name>one</Name>{PART}") == CreateRequest(name="one", parts=(part,))


def test_the_whole_model_is_read() -> None:
    request = read("""
      <Name> all </Name>
      <Part>
        <Name>wn</Name><Count>3</Count><MemoryMB>+64</MemoryMB><CPUs>1</CPUs><DiskMB>900</DiskMB>
        <Disk><Name>root</Name><Image>minimal</Image><ReadOnly>1</ReadOnly></Disk>
        <Disk><Name>scratch</Name><BlankMB>100</BlankMB><MountPoint>/scratch</MountPoint></Disk>
        <Disk><Partition>cached</Partition><ReadOnly>false</ReadOnly></Disk>
        <Disk><Image>store:mine/a</Image><SHA256>abababababababababababababababababababababababababababababababab</SHA256><Format>qcow2</Format><SizeMB>9</SizeMB>
          <KernelFrom>debian</KernelFrom></Disk>
        <NIC><Network>public</Network><Name>outer</Name></NIC>
        <NIC><Network>private</Network></NIC>
        <Context>
          <Provides>worker</Provides><Requires>ce</Requires><Requires>se</Requires>
          <Key>ssh-ed25519 AAAA alice</Key>
          <UserData> aGVs
                     bG8= </UserData>
          <File><Path>/etc/motd</Path><Mode>0600</Mode><Content>aGk=</Content></File>
          <File><Path>/etc/empty</Path><Content/></File>
        </Context>
      </Part>
      <Lease>
        <Duration>P1DT1H1M1S</Duration><StartWithin>PT90S</StartWithin><InitialState>Paused</InitialState>
        <EndAction>Save</EndAction><SaveTo>https://store.example/{name}</SaveTo>
      </Lease>
      <Token>once</Token><Open>true</Open>""")
    (part,) = request.parts
    assert part.count == 3
    assert part.allocation == Allocation(memory_mb=64, cpus=1, disk_mb=900)
    assert part.disks == (
        Disk(name="root", image="minimal", read_only=True),
        Disk(name="scratch", blank_mb=100, mount="/scratch"),
        Disk(name="", partition="cached"),
        Disk(name="", image="store:mine/a", sha256="ab" * 32, format="qcow2", size_mb=9, kernel_from="debian"),
    )
    assert part.nics == (Nic(network="public", name="outer"), Nic(network="private"))
    assert part.context == Context(
        provides=("worker",),
        requires=("ce", "se"),
        keys=("ssh-ed25519 AAAA alice",),
        user_data=b"hello",
        files=(File(path="/etc/motd", content=b"hi", mode=0o600), File(path="/etc/empty", content=b"")),
    )
    assert request == CreateRequest(
        name="all",
        parts=request.parts,
        duration=90061,
        start_within=90,
        initial_state=InitialState.PAUSED,
        end_action=EndAction.SAVE,
        save_uri="https://store.example/{name}",
        token="once",
        open=True,
    )


def test_a_deadline_is_kept_as_the_client_said_it() -> None:
    request = read(f"<Name>one</Name>{PART}<Lease><StartBy>2026-05-01T10:00:00+02:00</StartBy></Lease>")
    assert request.start_by == datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
    assert request.start_within is None


def test_parts_keep_their_order() -> None:
    request = read(f"<Name>one</Name>{PART}{PART.replace('>ce<', '>se<')}")
    assert [part.name for part in request.parts] == ["ce", "se"]


def reference(address: str, resource: str = "") -> str:
    given = f'<ResourceID xmlns="urn:flyinglow:types:1">{resource}</ResourceID>' if resource else ""
    return (
        f'<Name>more</Name>{PART}<Ensemble xmlns:a="http://www.w3.org/2005/08/addressing">'
        f"<a:Address>{address}</a:Address><a:ReferenceParameters>{given}</a:ReferenceParameters></Ensemble>"
    )


def test_an_ensemble_to_join_is_read_from_its_reference() -> None:
    assert read(reference("http://site.example/ensemble", "0123abcd")).join == "0123abcd"
    assert read(reference("http://site.example/ensemble/0123abcd")).join == "0123abcd"


def test_only_an_ensemble_can_be_joined() -> None:
    with pytest.raises(InvalidError, match="a group, not an ensemble"):
        read(reference("http://site.example/group", "0123abcd"))


def test_a_foreign_reference_is_unknown() -> None:
    with pytest.raises(UnknownError):
        read(reference("http://elsewhere.example/ensemble", "0123abcd"))


def test_a_duration_out_of_reason_is_refused() -> None:
    with pytest.raises(InvalidError):
        read(f"<Name>one</Name>{PART}<Lease><Duration>P99999D</Duration></Lease>")


@pytest.mark.parametrize("text", ["%%", "aGVsbG8", "aGk=aGk=", "\u00e9\u202e"])
def test_what_the_schema_takes_for_base64_is_decoded_strictly(text: str) -> None:
    body = PART.replace("</Part>", f"<Context><UserData>{text}</UserData></Context></Part>")
    with pytest.raises(InvalidError, match="not base64"):
        read_create(
            etree.fromstring(f'<Create xmlns="urn:flyinglow:factory:1"><Name>a</Name>{body}</Create>'), ADDRESSES
        )
