"""The audit log's file: one line a call, appended, on the disk when it should be, and opened anew."""

import json
import os
import stat
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import BrokenError
from flyinglow.server.audit import ADMIN_READS, READS, Audit, AuditFile
from flyinglow.wsrf.audited import Audited

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
CALL: dict[str, Any] = {
    "at": NOON, "caller": Identity("CN=Alice", via="x509"), "peer": "192.0.2.1:4", "endpoint": "workspace",
    "element": "{urn:flyinglow:workspace:1}Start", "operation": "Start", "resource": "a" * 32,
    "message_id": "urn:x:1", "outcome": "done",
}  # fmt: skip
READ = "{urn:flyinglow:factory:1}List"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def recorded(**changes: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    Audit(lambda record: made.append(dict(record))).call(Audited(**{**CALL, **changes}))
    return made


def test_who_did_what_from_where_and_what_came_of_it() -> None:
    assert recorded() == [
        {
            "at": NOON.isoformat(), "who": "CN=Alice", "via": "x509", "limited": False, "from": "192.0.2.1:4",
            "endpoint": "workspace", "operation": "Start", "resource": "a" * 32, "outcome": "done", "incident": "",
            "message_id": "urn:x:1",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"element": READ}, 0),
        ({"element": READ, "outcome": "InvalidFault"}, 0),
        ({"element": READ, "outcome": "ResourceUnknownFault"}, 1),
        ({"element": READ, "outcome": "DeniedFault"}, 1),
        ({"outcome": "ConflictFault"}, 1),
        ({"element": "", "outcome": "Client"}, 0),
        ({"element": "", "outcome": "DeniedFault", "refused": True}, 1),
        ({"element": "{urn:new}Anything"}, 1),
    ],
)
def test_what_changes_nothing_is_left_out_unless_it_was_a_probe(changes: dict[str, Any], count: int) -> None:
    assert len(recorded(**changes)) == count


def test_what_is_long_is_cut_and_what_was_made_is_named() -> None:
    (line,) = recorded(message_id="x" * 9999, made="b" * 32)
    assert len(line["message_id"]) == 512
    assert line["resource"] == "b" * 32


def test_verbs_of_the_admin_socket(tmp_path: Path) -> None:
    made: list[Any] = []
    audit = Audit(made.append)
    for verb in (*sorted(ADMIN_READS), "node.drain"):
        audit.verb(verb, {"name": "n1"}, "done", at=NOON, peer="uid 0 pid 1")
    assert [(line["operation"], line["resource"], line["who"]) for line in made] == [("node.drain", "n1", "operator")]


def test_lines_of_many_threads_are_whole_and_escaped(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = AuditFile(path, "never")

    def write(at: int) -> None:
        for number in range(50):
            file.write({"who": f"{at}", "what": f"{number}\n\x1b[31m\u202e" * 20})

    threads = [threading.Thread(target=write, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert Counter(line["who"] for line in lines(path)) == {str(at): 50 for at in range(8)}
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_it_is_appended_to_and_opened_anew_when_it_was_moved(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text('{"n":0}\n')
    file = AuditFile(path, "second")
    file.write({"n": 1})
    path.rename(tmp_path / "audit.log.1")
    file.write({"n": 2})
    file.reopen()
    file.write({"n": 3})
    file.settle()
    file.close()
    assert [line["n"] for line in lines(tmp_path / "audit.log.1")] == [0, 1, 2]
    assert [line["n"] for line in lines(path)] == [3]


def test_the_last_lines_can_be_read(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit.log", "never")
    for number in range(5):
        file.write({"n": number})
    assert file.last(2) == [{"n": 3}, {"n": 4}]
    assert file.last(0) == []
    for number in range(3000):
        file.write({"n": number, "x": "y" * 500})
    assert [line["n"] for line in file.last(2)] == [2998, 2999]
    assert 1000 < len(file.last(10**6)) < 3000
    file.close()


@pytest.mark.parametrize(("sync", "synced"), [("always", 3), ("second", 1), ("never", 0)])
def test_what_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, synced: int) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", forced.append)
    file = AuditFile(tmp_path / "audit.log", sync)
    for number in range(3):
        file.write({"n": number})
    file.settle()
    file.settle()
    assert len(forced) == synced
    file.close()


def test_a_link_is_not_followed_and_no_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "link", tmp_path):
        with pytest.raises(BrokenError, match="cannot be opened"):
            AuditFile(path, "never")
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_told_to_the_log_with_the_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = AuditFile(tmp_path / "audit.log", "never")
    os.close(file._descriptor)
    file._descriptor = os.open("/dev/full", os.O_WRONLY)
    file.write({"n": 1})
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.line == '{"n":1}\n'  # type: ignore[attr-defined]
    file.close()


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = AuditFile(tmp_path / "audit.log", "never"), os.write
    file.write({"n": 1})
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    file.write({"n": 2})
    monkeypatch.undo()
    file.write({"n": 3})
    file.write({"n": 4})
    assert file.last(10) == [{"n": 1}, {"torn": '{"n":'}, {"n": 3}, {"n": 4}]
    file.close()


def test_one_that_others_could_read_or_write_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.touch()
    path.chmod(0o666)
    AuditFile(path, "never").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_operations_that_change_nothing_are_these_and_no_others() -> None:
    """A new operation is audited unless somebody says here, too, that it changes nothing."""
    assert sorted({element.rpartition("}")[2] for element in READS}) == [
        "Console", "Estimate", "GetCurrentMessage", "GetMessages", "GetMultipleResourceProperties",
        "GetResourceProperty", "GetResourcePropertyDocument", "List", "QueryResourceProperties", "Report", "Validate",
    ]  # fmt: skip
    assert all(verb.endswith((".list", ".inspect")) or verb == "status" for verb in ADMIN_READS)
