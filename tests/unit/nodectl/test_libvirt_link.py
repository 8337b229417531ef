"""The connection to a libvirtd is kept while it lives, made anew when it broke, and its failures are told apart."""

import pytest

from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, TransientError
from flyinglow.nodectl.hypervisor.libvirt_link import NO_DOMAIN, Link, code, told
from rigs import libvirt


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
