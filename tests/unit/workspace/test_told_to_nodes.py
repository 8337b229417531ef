"""What guests and nodes are told: the context text and the VM specification; pure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend.api import NodeState
from flyinglow.nodectl import messages
from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.nodectl.messages import GuestFile
from flyinglow.workspace.context import OURS, context_text, members_text
from flyinglow.workspace.model import Context, Disk, File, Nic
from flyinglow.workspace.vmspec import vm_spec
from rigs.site import CATALOGUE
from rigs.store import workspace

NODE = NodeState(name="node0", memory_mb=1, cpus=1, disk_mb=1, networks={"public": "br7", "private": None})
NIC = Nic(
    network="public", name="eth0", ip="10.1.0.10", prefix=24, mac="52:54:00:00:00:01", hostname="public-10",
    gateway="10.1.0.1", dns=("10.1.0.2", "10.1.0.3"),
)  # fmt: skip
ROW = workspace(
    1, name="ce", node="node0", nics=(NIC,),
    disks=(Disk(name="root", image="guest"), Disk(name="d", blank_mb=7, mount="/d")),
    context=Context(provides=("compute-element", "gate"), requires=("storage",),
                    keys=("ssh-rsa AA me",), user_data=b"\xc3\xa9"),
)  # fmt: skip


def test_a_guest_is_told_of_itself_and_of_all_members() -> None:
    other = workspace(2, name="worker-2", part="worker")
    later = workspace(3, name="worker-10", part="worker")
    assert context_text(ROW, members_text([later, other, ROW])) == (
        "name ce\n"
        "hostname public-10\n"
        "role compute-element\n"
        "role gate\n"
        "requires storage\n"
        "nic eth0 public 10.1.0.10/24 public-10 52:54:00:00:00:01 gateway=10.1.0.1 dns=10.1.0.2,10.1.0.3\n"
        "ssh-rsa AA me\n"
        "member ce compute-element,gate 10.1.0.10 public=public-10\n"
        "member worker-2 - -\n"
        "member worker-10 - -\n"
    )


@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_a_lessee_writes_can_forge_a_line(role: str, key: str) -> None:
    row = replace(ROW, nics=(), context=Context(provides=(role,), keys=(key,)))
    try:
        text = context_text(row, members_text([row]))
    except InvalidError:
        return
    assert text.split("\n") == ["name ce", "hostname ce", f"role {role}", key, f"member ce {role} -", ""]
    assert len(text.splitlines()) == 5


def test_a_node_is_told_its_own_bridge_and_the_catalogues_kernel() -> None:
    spec = vm_spec(ROW, "text", {"node0": NODE}, CATALOGUE)
    assert (spec.kernel, spec.ready_mark, spec.user_data, spec.hostname) == (
        "/images/k",
        "GUEST-READY",
        "é",
        "public-10",
    )
    assert [(disk.source, disk.blank_mb, disk.mount) for disk in spec.disks] == [
        ("/images/guest.raw", None, None),
        (None, 7, "/d"),
    ]
    assert (spec.nics[0].bridge, spec.nics[0].ip, spec.nics[0].dns) == ("br7", "10.1.0.10", ("10.1.0.2", "10.1.0.3"))


@pytest.mark.parametrize("word", sorted(OURS))
def test_a_key_that_looks_like_a_line_of_ours_is_refused(word: str) -> None:
    row = replace(ROW, context=Context(keys=(f"{word} evil - 10.0.0.66",)))
    with pytest.raises(InvalidError, match="is no key"):
        context_text(row, "")


def test_a_node_is_told_files_keys_and_by_which_way_the_image_takes_them() -> None:
    files = (File(path="/etc/x", content=b"\0\xff", mode=0o600),)
    row = replace(ROW, context=Context(keys=("ssh-rsa AA me",), files=files))
    seeded = {name: replace(image, context="seed") for name, image in CATALOGUE.items()}
    spec = vm_spec(row, "text", {"node0": NODE}, seeded)
    assert spec.files == (GuestFile("/etc/x", "AP8=", 0o600),)
    assert (spec.keys, spec.delivery) == (("ssh-rsa AA me",), "seed")
    assert vm_spec(row, "text", {"node0": NODE}, CATALOGUE).delivery == "auto"
    assert messages.vm_spec(messages.encode(spec)) == spec


def test_a_node_or_an_image_that_is_gone_is_named() -> None:
    with pytest.raises(BrokenError, match="node node0 is no longer"):
        vm_spec(ROW, "", {}, CATALOGUE)
    with pytest.raises(BrokenError, match="image guest is no longer"):
        vm_spec(ROW, "", {"node0": NODE}, {})
