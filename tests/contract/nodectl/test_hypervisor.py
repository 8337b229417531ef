"""What every driver promises, asked of a whole node: repeated orders, states, crashes, leftovers."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from flyinglow.nodectl import processes
from flyinglow.nodectl.agent.slot import ORDERS
from flyinglow.nodectl.errors import ConflictError, ExhaustedError, FlyingLowError, InvalidError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmStatus
from flyinglow.nodectl.vmdir import write_json
from rigs.node import Subject

TAG = "kx3b9q2z"


def test_a_created_vm_is_there_until_it_is_destroyed(subject: Subject) -> None:
    info = subject.create(TAG)
    assert (info.status, info.ready, info.pid) == (VmStatus.CREATED, False, None)
    assert set(info.seconds) == {"image", "network"}
    assert [vm.tag for vm in subject.again().list()] == [TAG]

    subject.node.destroy(TAG)
    assert subject.node.list() == []
    assert not subject.node.state.vm(TAG).exists()
    subject.node.destroy(TAG)


def test_creating_again_finds_the_work_done_or_another_vm(subject: Subject) -> None:
    first = subject.create(TAG)
    assert subject.create(TAG) == first
    with pytest.raises(ConflictError, match="another specification"):
        subject.create(TAG, memory_mb=128)
    assert [vm.tag for vm in subject.node.list()] == [TAG]


def test_the_order_and_its_specification_must_name_one_vm(subject: Subject) -> None:
    with pytest.raises(InvalidError, match="specification for VM"):
        subject.node.create(TAG, subject.spec("other"))
    assert subject.node.list() == []


def test_a_vm_that_is_not_there_is_unknown(subject: Subject) -> None:
    of_no_vm = {OrderName.CREATE, OrderName.DESTROY, OrderName.LIST, OrderName.OFFER, OrderName.CANCEL} | ORDERS
    for name in set(OrderName) - of_no_vm:
        with pytest.raises(UnknownError):
            subject.node.carry_out(name, "nobody", {})


def test_start_pause_resume_reboot_may_be_repeated(subject: Subject) -> None:
    subject.create(TAG)
    node = subject.node
    started = node.start(TAG)
    assert started.status is VmStatus.RUNNING
    assert set(started.seconds) == {"image", "network", "started"}
    assert node.start(TAG).pid == started.pid
    assert node.pause(TAG).status is VmStatus.PAUSED
    assert node.pause(TAG).status is VmStatus.PAUSED
    assert subject.again().info(TAG).status is VmStatus.PAUSED
    assert node.resume(TAG).status is VmStatus.RUNNING
    assert node.resume(TAG).status is VmStatus.RUNNING
    assert node.pause(TAG).status is VmStatus.PAUSED
    assert node.start(TAG).status is VmStatus.RUNNING
    rebooted = node.reboot(TAG)
    assert (rebooted.status, rebooted.pid) == (VmStatus.RUNNING, started.pid)


def test_a_vm_may_start_paused(subject: Subject) -> None:
    subject.create(TAG)
    assert subject.node.start(TAG, paused=True).status is VmStatus.PAUSED
    assert subject.node.start(TAG, paused=True).status is VmStatus.PAUSED
    with pytest.raises(ConflictError, match="resume it"):
        subject.node.reboot(TAG)
    assert subject.node.resume(TAG).status is VmStatus.RUNNING
    with pytest.raises(ConflictError, match="pause it"):
        subject.node.start(TAG, paused=True)


@pytest.mark.parametrize("order", ["pause", "resume", "reboot"])
def test_what_does_not_run_cannot_pause_resume_reboot(subject: Subject, order: str) -> None:
    subject.create(TAG)
    with pytest.raises(ConflictError, match=f"cannot {order}: it is created"):
        getattr(subject.node, order)(TAG)


def test_shutdown_keeps_the_vm_for_another_start(subject: Subject) -> None:
    subject.create(TAG)
    assert subject.node.shutdown(TAG, 0).status is VmStatus.CREATED
    subject.node.start(TAG, paused=True)
    stopped = subject.node.shutdown(TAG, 0)
    assert (stopped.status, stopped.pid, stopped.ready) == (VmStatus.STOPPED, None, False)
    assert subject.node.shutdown(TAG, 0).status is VmStatus.STOPPED
    assert subject.again().info(TAG).status is VmStatus.STOPPED
    assert subject.node.start(TAG, paused=True).status is VmStatus.PAUSED


def test_a_vm_that_died_is_broken_and_can_be_started_again(subject: Subject) -> None:
    subject.create(TAG)
    subject.node.start(TAG, paused=True)
    subject.crash(TAG)
    info = subject.until(lambda vm: vm.status is VmStatus.BROKEN, TAG)
    assert info.reason
    assert subject.again().info(TAG).status is VmStatus.BROKEN
    assert subject.node.start(TAG, paused=True).status is VmStatus.PAUSED
    subject.crash(TAG)
    subject.until(lambda vm: vm.status is VmStatus.BROKEN, TAG)
    assert subject.node.shutdown(TAG, 0).status is VmStatus.STOPPED


def test_a_half_made_directory_is_broken_and_is_made_anew(subject: Subject) -> None:
    vm = subject.node.state.vm(TAG)
    vm.path.mkdir()
    write_json(vm.path / "spec.json", subject.spec(TAG))
    assert [(info.tag, info.status) for info in subject.node.list()] == [(TAG, VmStatus.BROKEN)]
    for order in ("start", "pause", "shutdown"):
        with pytest.raises(ConflictError, match="cut short"):
            getattr(subject.node, order)(TAG)
    assert subject.create(TAG).status is VmStatus.CREATED
    subject.node.destroy(TAG)
    vm.path.mkdir()
    assert subject.create(TAG).status is VmStatus.CREATED


@pytest.mark.parametrize("file", ["spec.json", "vm.json"])
@pytest.mark.parametrize("text", ["", "[]", '{"no": "such"}', "\0"])
def test_what_cannot_be_understood_is_broken_and_can_be_destroyed(subject: Subject, file: str, text: str) -> None:
    subject.create(TAG)
    (subject.node.state.vm(TAG).path / file).write_text(text)
    if file == "vm.json":
        assert subject.node.info(TAG).status is VmStatus.BROKEN
    with pytest.raises(FlyingLowError):
        subject.node.start(TAG)
    subject.node.destroy(TAG)
    assert subject.node.list() == []


def test_a_running_vm_without_a_readable_record_leaves_nothing_behind(subject: Subject) -> None:
    subject.create(TAG)
    pid = subject.node.start(TAG, paused=True).pid
    for name in ("vm.json", "qemu.pid"):
        (subject.node.state.vm(TAG).path / name).unlink(missing_ok=True)
    assert subject.node.list()[0].status is VmStatus.BROKEN
    subject.again().destroy(TAG)
    assert subject.node.list() == []
    if pid is not None:
        from flyinglow.nodectl.processes import mark

        assert mark(pid) is None


def test_orders_for_one_vm_from_two_programs_do_not_meet(subject: Subject) -> None:
    one, other = subject.node, subject.again()
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(lambda node: node.create(TAG, subject.spec(TAG)), [one, other] * 4))
        assert {info.status for info in infos} == {VmStatus.CREATED}
        started = list(pool.map(lambda node: node.start(TAG, paused=True), [one, other] * 2))
        assert len({info.pid for info in started}) == 1
        list(pool.map(lambda node: node.destroy(TAG), [one, other] * 4))
    assert one.list() == []


def test_a_guest_becomes_ready_and_once_more_after_a_reboot(subject: Subject) -> None:
    if subject.driver == "libvirt":
        pytest.skip("libvirt's own test driver runs no guest; tests/integration/nodectl/test_libvirt.py has one")
    subject.create(TAG)
    subject.node.start(TAG)
    subject.until(lambda vm: vm.ready, TAG)
    subject.node.tend(TAG)
    assert subject.again().info(TAG).ready
    if subject.driver == "qemu":
        assert not subject.node.reboot(TAG).ready
    subject.until(lambda vm: vm.ready, TAG)
    assert not subject.node.shutdown(TAG, 20).ready
    if subject.driver == "qemu":
        assert b"GUEST-POWERBUTTON" in subject.node.state.vm(TAG).console.read_bytes()


def test_the_console_can_be_read_from_any_byte(subject: Subject) -> None:
    subject.create(TAG)
    assert subject.node.read_console(TAG, {})["size"] == 0
    subject.node.state.vm(TAG).console.write_bytes(b"\xff first\nsecond\n")
    answer = subject.node.read_console(TAG, {"offset": 8, "max": 6})
    assert (base64.b64decode(answer["data"]), answer["offset"], answer["size"]) == (b"second", 8, 15)
    beyond = subject.node.read_console(TAG, {"offset": 99})
    assert (beyond["data"], beyond["offset"], beyond["size"]) == ("", 15, 15)
    with pytest.raises(InvalidError):
        subject.node.read_console(TAG, {"offset": -1})


def test_kill_all_leaves_nothing_and_may_be_repeated(subject: Subject) -> None:
    for tag in ("a1", "b2", "c3"):
        subject.create(tag)
    subject.node.start("a1", paused=True)
    subject.node.state.vm("half").path.mkdir()
    first = subject.kill_all()
    assert (first["destroyed"], first["failed"]) == (["a1", "b2", "c3", "half"], [])
    again = subject.kill_all()
    assert (again["destroyed"], again["failed"]) == ([], [])
    assert subject.node.list() == []


def test_a_vm_that_cannot_start_says_why_and_stays_as_it_was(subject: Subject) -> None:
    failing = {"cpu": "no-such-cpu", "simulated": {"failures": [{"order": "start", "message": "VM did not start: no"}]}}
    failing["xl"] = _failing_xl(subject) if subject.driver == "xen" else "xl"
    failing["libvirt"] = "test:///no/such/node.xml"
    subject.create(TAG)
    with pytest.raises(FlyingLowError, match=r"VM did not start: .*no|libvirt cannot be reached at .*no/such"):
        subject.again(**failing).start(TAG)
    assert subject.node.info(TAG).status is VmStatus.CREATED
    assert subject.node.start(TAG, paused=True).status is VmStatus.PAUSED


def test_a_creation_that_fails_leaves_nothing(subject: Subject) -> None:
    failing = {"minimum_free_disk_mb": 1 << 40, "simulated": {"failures": [{"order": "create", "kind": "exhausted"}]}}
    with pytest.raises(ExhaustedError):
        subject.again(**failing).create(TAG, subject.spec(TAG))
    assert subject.node.list() == []
    assert not subject.node.state.vm(TAG).exists()
    assert subject.create(TAG).status is VmStatus.CREATED


def _failing_xl(subject: Subject) -> str:
    """Write an ``xl`` whose creations leave half a domain behind, and fail."""
    real = subject.node.state.path.parent / "xen/xl"
    program = real.with_name("failing-xl")
    words = f'"{real}" create -p "${{@: -1}}"; echo "libxl: error: no such thing" >&2; exit 3'
    program.write_text(f'#!/bin/bash\n[ "$1" != create ] && exec "{real}" "$@"\n{words}\n')
    program.chmod(0o755)
    return str(program)


def test_a_vm_of_before_the_nodes_last_start_is_stopped_and_can_be_started(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subject.driver == "simulated":
        pytest.skip("a pretended VM has no process that a start of the node could end")
    subject.create(TAG)
    subject.node.start(TAG, paused=True)
    subject.crash(TAG)
    subject.until(lambda vm: vm.status is VmStatus.BROKEN, TAG)
    monkeypatch.setattr(processes, "boot_id", lambda: "another-boot")
    info = subject.again().info(TAG)
    assert (info.status, info.reason) == (VmStatus.STOPPED, "the node was started anew")
    assert subject.again().start(TAG, paused=True).status is VmStatus.PAUSED
    subject.again().destroy(TAG)
    assert subject.node.list() == []
    assert not subject.node.state.vm(TAG).exists()


def test_a_creation_that_fails_as_nobody_thought_leaves_nothing(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("as nobody thought")

    monkeypatch.setattr(type(subject.node.contexts), "deliver", fail)
    with pytest.raises(RuntimeError):
        subject.create(TAG)
    assert subject.node.list() == []
    assert not subject.node.state.vm(TAG).exists()
