"""The one table from errors to faults; no text of an exception leaks; one bounded line in the log."""

import logging
from functools import partial

import pytest

from flyinglow.nodectl import errors
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.endpoint import Endpoint
from flyinglow.wsrf.fault_log import shown
from flyinglow.wsrf.faults import ACTION_WSN, CODES, Scene, TypedFault, member_fault
from flyinglow.wsrf.xml import E, qname
from rigs.soap import NOW, Seen, Shelf, endpoint, fault_of, message, start_port, state_of

W1 = "<fl:ResourceID>w1</fl:ResourceID>"
URL = "http://site.example/workspace/w1"
CASES = {
    errors.InvalidError: ("InvalidFault", "Client", "false"),
    errors.DeniedError: ("DeniedFault", "Client", "false"),
    errors.NeverError: ("NeverFault", "Client", "false"),
    errors.ConflictError: ("ConflictFault", "Client", "false"),
    errors.ExhaustedError: ("ExhaustedFault", "Server", "true"),
    errors.TransientError: ("TransientFault", "Server", "true"),
    errors.BrokenError: ("BrokenFault", "Server", "false"),
}


@pytest.fixture(params=["1.1", "1.2"])
def soap(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("cls", CASES)
def test_each_error_has_its_fault(shelf: Shelf, seen: Seen, cls: type[errors.FlyingLowError], soap: str) -> None:
    name, code, retryable = CASES[cls]

    def start(_call: object) -> None:
        raise cls("it is so", {"memory_mb.free": 7, "a": -1})

    point = endpoint(shelf, start_port(start), on_message=seen)
    fault = fault_of(point.call(message("<flw:Start/>", W1, soap), soap=soap), soap)
    word = code if soap == "1.1" else {"Client": "Sender", "Server": "Receiver"}[code]
    assert fault.codes == (qname("s11" if soap == "1.1" else "s12", word),)
    assert fault.status == (400 if word == "Sender" else 500)
    assert fault.kind == qname("fl", name)
    assert fault.text == "it is so"
    assert fault.detail is not None
    assert fault.detail.findtext(qname("fl", "Kind")) == cls.kind
    assert fault.detail.findtext(qname("fl", "Retryable")) == retryable
    assert fault.detail.findtext(qname("bf", "Timestamp")) == "2026-11-22T12:00:00Z"
    assert fault.detail.findtext(f"{qname('bf', 'Originator')}/{qname('wsa', 'Address')}") == URL
    error_code = fault.detail.find(qname("bf", "ErrorCode"))
    assert error_code is not None
    assert (error_code.get("dialect"), error_code.text) == (CODES, cls.kind)
    assert fault.detail.findtext(qname("bf", "Description")) == "it is so"
    assert [(f.get("name"), f.text) for f in fault.detail.iter(qname("fl", "Figure"))] == [
        ("a", "-1"),
        ("memory_mb.free", "7"),
    ]
    assert ("fault", qname("fl", name)) in seen.messages


def test_a_resource_that_cannot_be_reached_now_is_unavailable(
    workspace: Endpoint, shelf: Shelf, seen: Seen, soap: str
) -> None:
    """By the operations of the standards, with our own fault as its cause."""
    shelf.broken = errors.TransientError("the store does not answer", {"a": 1})
    for asked in (state_of(soap=soap), message("<rl:Destroy/>", W1, soap)):
        fault = fault_of(workspace.call(asked, soap=soap), soap)
        assert (fault.status, fault.kind) == (500, qname("r", "ResourceUnavailableFault"))
        assert fault.detail is not None
        assert fault.detail.findtext(qname("bf", "ErrorCode")) == "ResourceUnavailableFault"
        (cause,) = fault.detail.findall(f"{qname('bf', 'FaultCause')}/{qname('fl', 'TransientFault')}")
        assert cause.findtext(qname("fl", "Retryable")) == "true"
    assert ("fault", qname("r", "ResourceUnavailableFault")) in seen.messages


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (state_of("gone"), "unknown"),
        (state_of(name="fl:Nope"), "InvalidResourcePropertyQNameFault"),
        (
            message('<rl:SetTerminationTime><rl:RequestedTerminationTime xsi:nil="true"/></rl:SetTerminationTime>', W1),
            "UnableToSetTerminationTimeFault",
        ),
    ],
)
def test_every_fault_says_when_who_which_and_why(workspace: Endpoint, seen: Seen, asked: bytes, name: str) -> None:
    fault = fault_of(workspace.call(asked))
    assert fault.detail is not None
    when, who, which, why = fault.detail
    assert (when.tag, when.text) == (qname("bf", "Timestamp"), "2026-11-22T12:00:00Z")
    assert who.tag == qname("bf", "Originator")
    assert str(who[0].text).startswith("http://site.example/workspace/")
    assert (which.tag, which.get("dialect"), which.text) == (qname("bf", "ErrorCode"), CODES, name)
    assert (why.tag, why.text) == (qname("bf", "Description"), fault.text)
    assert [direction for direction, _ in seen.messages][-1] == "fault"


def test_every_kind_of_the_tree_has_a_fault() -> None:
    assert set(errors.KINDS.values()) - {errors.UnknownError} == set(CASES)


def test_an_error_derived_by_a_part_is_its_parents_fault(workspace: Endpoint, shelf: Shelf) -> None:
    class Full(errors.ExhaustedError):
        pass

    shelf.broken = Full("no room")
    assert fault_of(workspace.call(state_of())).kind == qname("fl", "ExhaustedFault")


def told_by(record: logging.LogRecord) -> str:
    """Return all that a record tells, as the daemon's log shows it on one line."""
    plain = logging.makeLogRecord({}).__dict__
    told = [f"{name}={value}" for name, value in record.__dict__.items() if name not in plain]
    return " ".join([record.getMessage(), *told])


def test_nothing_of_an_unexpected_exception_leaks(
    workspace: Endpoint, shelf: Shelf, caplog: pytest.LogCaptureFixture, soap: str
) -> None:
    shelf.broken = RuntimeError("secret /etc/shadow\npassword" + "x" * 5000)
    with caplog.at_level(logging.INFO, "flyinglow.wsrf"):
        answer = workspace.call(state_of(soap=soap), soap=soap)
    assert b"secret" not in answer.body
    assert b"RuntimeError" not in answer.body
    fault = fault_of(answer, soap)
    assert fault.kind == qname("fl", "BrokenFault")
    assert fault.detail is not None
    incident = fault.detail.findtext(qname("fl", "Incident"))
    (record,) = caplog.records
    assert record.getMessage() == "soap fault"
    assert record.__dict__["incident"] == incident
    assert record.__dict__["error"].startswith("RuntimeError: secret")
    assert "soap.py" in record.__dict__["where"]
    line = told_by(record)
    assert "\n" not in line
    assert len(line) < 1200
    assert record.levelno == logging.ERROR


def test_one_bounded_line_a_fault(workspace: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    hostile = "\u202e\x1b[31m".replace("\x1b", "&#x9;") + "A" * 100_000
    with caplog.at_level(logging.DEBUG):
        workspace.call(state_of(name=f"fl:{hostile}"))
        workspace.call(state_of(hostile))
        workspace.call(message(f"<x:{'B' * 50_000} xmlns:x='urn:x'/>"))
        workspace.call(b"<!DOCTYPE " + b"C" * 100_000)
        workspace.call(message(f"<rl:Destroy>{'D' * 10_000}</rl:Destroy>", "<fl:ResourceID>w1</fl:ResourceID>"))
    assert len(caplog.records) == 5
    for record in caplog.records:
        line = told_by(record)
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 300 + 250, line


def test_a_success_is_not_logged(workspace: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        workspace.call(state_of())
    assert caplog.records == []


def test_a_typed_fault_is_rendered_as_its_standard_has_it(shelf: Shelf, seen: Seen, soap: str) -> None:
    def subscribe(call: object) -> None:
        raise TypedFault(
            qname("wsnt", "UnacceptableTerminationTimeFault"),
            "too long",
            children=[E["wsnt"].MinimumTime("2026-01-01T00:00:00Z")],
            action=ACTION_WSN,
        )

    point = endpoint(shelf, start_port(subscribe), on_message=seen)
    action = "<wsa:Action>urn:flyinglow:workspace:1/Workspace/StartRequest</wsa:Action>"
    asked = message("<flw:Start/>", f"<fl:ResourceID>w1</fl:ResourceID>{action}", soap)
    fault = fault_of(point.call(asked, soap=soap), soap)
    assert fault.kind == qname("wsnt", "UnacceptableTerminationTimeFault")
    assert fault.detail is not None
    assert fault.detail[-1].text == "2026-01-01T00:00:00Z"
    assert fault.headers[qname("wsa", "Action")].text == ACTION_WSN


def test_text_that_xml_forbids_does_not_break_a_fault(workspace: Endpoint, shelf: Shelf) -> None:
    shelf.broken = errors.InvalidError("a\0b\ud800c")
    assert fault_of(workspace.call(state_of())).text == "a\ufffdb\ufffdc"


def _return(what: object, call: object) -> object:
    return what


def test_an_operation_that_returns_something_else_is_broken(shelf: Shelf) -> None:
    for wrong in (None, "text", E["flw"].Other()):
        point = endpoint(shelf, start_port(partial(_return, wrong)))
        answer = point.call(message("<flw:Start/>", "<fl:ResourceID>w1</fl:ResourceID>"))
        assert fault_of(answer).kind == qname("fl", "BrokenFault")


def test_a_members_fault_fits_its_type() -> None:
    for error in (errors.ConflictError("no", {"n": 1}), errors.UnknownError("gone"), ValueError("secret")):
        element = member_fault(qname("fl", "InvalidFault"), error, Scene(at=NOW, incident="i"))
        Contract.packaged().validate(element)
        assert "secret" not in str(list(element.itertext()))


def test_what_is_shown_is_short_and_plain() -> None:
    assert shown("a\nb\x1b\u202e'", 40) == "a\\nb\\x1b\\u202e'"
    assert len(shown("\u202e" * 1000, 64)) <= 64
