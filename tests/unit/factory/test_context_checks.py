"""What a lessee may hand to his guests, as Create judges it; every refusal names the part and the limit."""

import pytest

from flyinglow.factory.context_checks import check
from flyinglow.factory.model import Part
from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.model import Allocation, Context, Disk, File

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOiNVEbDO8ZHIAHbOaYkmmRDxUmAVX2E0kPoWq6ENQQR"


def part(**context: object) -> Part:
    made = Context(**context)  # type: ignore[arg-type]
    return Part(
        name="ce", count=1, allocation=Allocation(memory_mb=1, cpus=1), disks=(Disk(name="r", image="i"),), context=made
    )


@pytest.mark.parametrize(
    "key",
    [KEY, f"{KEY} me@home", f'from="10.0.0.0/8",no-pty {KEY}', "ecdsa-sha2-nistp256 AAAA= x",
     "sk-ssh-ed25519@openssh.com AA", f'command="echo member" {KEY}'],
)  # fmt: skip
def test_keys_that_are_taken(key: str) -> None:
    check(part(keys=(key,)))


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"keys": ("",)}, "one line"),
        ({"keys": (f"{KEY}\nrole admin",)}, "one line"),
        ({"keys": (f"{KEY}\0",)}, "one line"),
        ({"keys": ("member evil - 10.0.0.66",)}, "no line of an SSH authorized_keys"),
        ({"keys": (f"member {KEY}",)}, "no line of an SSH authorized_keys"),
        ({"keys": ("-----BEGIN OPENSSH PRIVATE KEY-----",)}, "no line of an SSH authorized_keys"),
        ({"keys": (KEY,) * 65}, "65 keys were given; a guest is given at most 64"),
        ({"user_data": b"x" * 65537}, "at most 65536 bytes"),
        ({"user_data": b"a\0b"}, "no NUL"),
        ({"user_data": b"\xff"}, "UTF-8"),
        ({"files": (File(path="etc/x", content=b""),)}, "no absolute path"),
        ({"files": (File(path="/etc/../x", content=b""),)}, "no step"),
        ({"files": (File(path="/etc/\nx", content=b""),)}, "control character"),
        ({"files": (File(path="/etc/\0x", content=b""),)}, "control character"),
        ({"files": (File(path="/x", content=b"", mode=0o4755),)}, "mode"),
        ({"files": (File(path="/x", content=b""),) * 2}, "/x is there twice"),
        ({"files": (File(path="/x", content=b""), File(path="/x/y", content=b""))}, "folder of /x/y"),
        ({"files": tuple(File(path=f"/{n}", content=b"") for n in range(65))}, "65 files were given"),
        ({"files": (File(path="/x", content=b"x" * (1 << 20)), File(path="/y", content=b"y"))}, "at most 1048576"),
    ],
)
def test_what_is_refused_is_named(context: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidError, match=f"part ce: .*{words}"):
        check(part(**context))


def test_files_of_one_megabyte_together_are_taken() -> None:
    check(part(files=(File(path="/x", content=b"x" * (1 << 19)), File(path="/y", content=b"y" * (1 << 19)))))
