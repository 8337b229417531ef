"""The connection to a libvirtd is kept while it lives, made anew when it broke, and its failures are told apart."""

import subprocess
import sys
from pathlib import Path

import pytest

import flyinglow
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, TransientError
from flyinglow.nodectl.hypervisor import libvirt_link
from flyinglow.nodectl.hypervisor.libvirt_link import NO_DOMAIN, Link, code, told
from rigs import libvirt

ROOT = Path(flyinglow.__file__).parent.parent


def test_a_connection_is_kept_until_it_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    module = libvirt.module()
    with libvirt.pretended() as uri:
        link = Link(uri)
        first = link.connection()
        assert link.connection() is first
        monkeypatch.setattr(module.virConnect, "isAlive", lambda found: found is not first)
        second = link.connection()
        assert second is not first
        assert link.connection() is second
        for found in (first, second):
            found.close()


def test_a_daemon_that_is_not_there_may_come_back() -> None:
    libvirt.module()
    with pytest.raises(TransientError, match="libvirt cannot be reached at test:///no/such/file"):
        Link("test:///no/such/file").connection()


@pytest.mark.parametrize(
    ("number", "words", "error"),
    [
        ("VIR_ERR_NO_DOMAIN", "Domain not found", BrokenError),
        ("VIR_ERR_OPERATION_TIMEOUT", "Timed out during operation", TransientError),
        ("VIR_ERR_RPC", "connection closed", TransientError),
        ("VIR_ERR_NO_MEMORY", "out of memory", ExhaustedError),
        ("VIR_ERR_INTERNAL_ERROR", "unable to map: Cannot allocate memory", ExhaustedError),
    ],
)
def test_failures_are_told_apart(number: str, words: str, error: type[FlyingLowError]) -> None:
    module = libvirt.module()
    cause = module.libvirtError(words)
    cause.args = (words,)  # else it says what libvirt said last
    cause.err = (getattr(module, number), module.VIR_FROM_QEMU, words, 2, "", "", "", 0, 0)
    with pytest.raises(error, match="it failed: libvirt says: ") as caught, told("it failed"):
        raise cause
    assert (code(caught.value) == NO_DOMAIN) is (number == "VIR_ERR_NO_DOMAIN")


def test_the_module_is_found_by_a_program_that_has_no_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libvirt.py").write_text("here = True\n")
    monkeypatch.setitem(sys.modules, "libvirt", None)
    monkeypatch.setattr(libvirt_link, "DISTRIBUTION", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ImportError):  # whoever has a site has said where modules are
        libvirt_link._imported()
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from flyinglow.nodectl.hypervisor import libvirt_link as link\n"
        f"link.DISTRIBUTION = {str(tmp_path)!r}\n"
        "assert link._imported().here and sys.path[-1] == link.DISTRIBUTION\n"
    )
    subprocess.run([sys.executable, "-IS", "-c", program], check=True, timeout=60)
