"""What every driver promises of a VM's whole state: it goes on where it was, once, and is never lost half way."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.nodectl import compose
from flyinglow.nodectl.errors import BrokenError, ConflictError, FlyingLowError, UnknownError
from flyinglow.nodectl.hypervisor import qemu
from flyinglow.nodectl.hypervisor.keeper import Keeper
from flyinglow.nodectl.messages import VmStatus
from rigs.node import Subject

TAG = "kx3b9q2z"


@pytest.fixture
def keeper(subject: Subject) -> Keeper:
    return compose.keeper_of(subject.config)


def _up(subject: Subject, *, paused: bool = False) -> Path:
    subject.create(TAG)
    subject.node.start(TAG, paused=paused)
    return subject.node.state.vm(TAG).memory_state


def test_a_running_vm_goes_on_where_it_was(subject: Subject, keeper: Keeper) -> None:
    file = _up(subject)
    if subject.driver != "libvirt":  # its own test driver runs no guest
        subject.until(lambda vm: vm.ready, TAG)
    console = subject.node.state.vm(TAG).console
    for _ in range(2):
        info = keeper.save(TAG)
        assert (info.status, info.pid, info.ready) == (VmStatus.STOPPED, None, False)
        assert "its state is kept" in info.reason
        assert file.stat().st_mode & 0o077 == 0
    before = console.read_bytes()
    for _ in range(2):
        assert keeper.restore(TAG).status is VmStatus.RUNNING
    assert not file.exists()
    assert console.read_bytes() == before  # it did not boot
    subject.node.shutdown(TAG, 30)
    if subject.driver == "qemu":
        assert b"GUEST-POWERBUTTON" in console.read_bytes()


def test_a_paused_vm_may_go_on_paused_and_a_kept_state_may_wait_so(subject: Subject, keeper: Keeper) -> None:
    _up(subject, paused=True)
    keeper.save(TAG)
    assert keeper.restore(TAG, paused=True).status is VmStatus.PAUSED
    keeper.save(TAG)
    assert keeper.restore(TAG).status is VmStatus.RUNNING
    assert subject.node.pause(TAG).status is VmStatus.PAUSED


def test_what_is_started_anew_has_no_state_any_more(subject: Subject, keeper: Keeper) -> None:
    file = _up(subject, paused=True)
    keeper.save(TAG)
    assert subject.node.start(TAG, paused=True).status is VmStatus.PAUSED
    assert not file.exists()
    subject.node.shutdown(TAG, 0)
    with pytest.raises(ConflictError, match="no state of it is kept"):
        keeper.restore(TAG)


def test_what_does_not_run_has_no_state_to_be_saved(subject: Subject, keeper: Keeper) -> None:
    with pytest.raises(UnknownError):
        keeper.save(TAG)
    with pytest.raises(UnknownError):
        keeper.restore(TAG)
    subject.create(TAG)
    with pytest.raises(ConflictError, match="cannot have its state saved: it is created"):
        keeper.save(TAG)
    with pytest.raises(ConflictError, match="no state of it is kept"):
        keeper.restore(TAG)


def test_a_save_that_fails_leaves_the_vm_as_it_was(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _up(subject)
    if subject.driver == "qemu":
        monkeypatch.setattr(qemu, "being_written", _full)
    if subject.driver == "libvirt":
        file.mkdir()  # nobody can write that
    failing = subject.failing("save-state")
    with pytest.raises(FlyingLowError):
        compose.keeper_of(failing).save(TAG)
    assert subject.node.info(TAG).status is VmStatus.RUNNING
    left = [path for path in file.parent.iterdir() if path.name.startswith(file.name) and not path.is_dir()]
    assert left == []


@contextlib.contextmanager
def _full(file: Path) -> Iterator[int]:
    with Path("/dev/full").open("wb") as out:
        yield out.fileno()


def test_a_state_that_cannot_be_read_stays_for_a_person_to_look_at(subject: Subject, keeper: Keeper) -> None:
    file = _up(subject, paused=True)
    keeper.save(TAG)
    whole = file.read_bytes()
    file.write_bytes(b"not a state")
    with pytest.raises(BrokenError):
        keeper.restore(TAG)
    assert subject.node.info(TAG).status in (VmStatus.STOPPED, VmStatus.BROKEN)
    assert file.exists()
    file.write_bytes(whole)
    assert keeper.restore(TAG, paused=True).status is VmStatus.PAUSED
