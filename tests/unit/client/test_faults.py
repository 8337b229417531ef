import pytest

from flyinglow.client import faults
from flyinglow.client.reading import parse
from flyinglow.nodectl.errors import (
    KINDS,
    BrokenError,
    DeniedError,
    FlyingLowError,
    InvalidError,
    TransientError,
    UnknownError,
)

NAMES = (
    'xmlns:fl="urn:flyinglow:types:1" xmlns:bf="http://docs.oasis-open.org/wsrf/bf-2" '
    'xmlns:r="http://docs.oasis-open.org/wsrf/r-2" xmlns:rl="http://docs.oasis-open.org/wsrf/rl-2" '
    'xmlns:rp="http://docs.oasis-open.org/wsrf/rp-2" xmlns:wsa="http://www.w3.org/2005/08/addressing"'
)
BASE = "<bf:Timestamp>2030-01-01T12:00:00Z</bf:Timestamp><bf:Description>told so</bf:Description>"


def soap11(code: str, detail: str = "") -> FlyingLowError:
    text = (
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" {NAMES}><s:Body><s:Fault>'
        f"<faultcode>{code}</faultcode><faultstring>said</faultstring><detail>{detail}</detail>"
        "</s:Fault></s:Body></s:Envelope>"
    )
    fault = faults.find(parse(text.encode()))
    assert fault is not None
    return faults.read(fault)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_the_tree_comes_back_as_itself(kind: str) -> None:
    more = f"<fl:Kind>{kind}</fl:Kind><fl:Retryable>true</fl:Retryable><fl:Incident>i7</fl:Incident>"
    more += '<fl:Figure name="a">5</fl:Figure>'
    error = soap11("s:Server", f"<fl:AnyFault>{BASE}{more}</fl:AnyFault>")
    assert type(error) is KINDS[kind]
    assert (error.message, error.incident, error.figures) == ("told so", "i7", {"a": 5})


@pytest.mark.parametrize(
    ("element", "code", "expected"),
    [
        ("r:ResourceUnknownFault", "s:Client", UnknownError),
        ("rl:TerminationTimeChangeRejectedFault", "s:Client", DeniedError),
        ("rl:UnableToSetTerminationTimeFault", "s:Client", InvalidError),
        ("rp:InvalidResourcePropertyQNameFault", "s:Client", InvalidError),
        ("r:SomethingElse", "s:Server", BrokenError),
    ],
)
def test_the_standards_faults(element: str, code: str, expected: type[FlyingLowError]) -> None:
    error = soap11(code, f"<{element}>{BASE}</{element}>")
    assert type(error) is expected
    assert error.message == "told so"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("s:Client", InvalidError),
        ("s:Server", BrokenError),
        ("s:MustUnderstand", InvalidError),
        ("wsa:ActionMismatch", InvalidError),
    ],
)
def test_faults_without_detail_go_by_their_code(code: str, expected: type[FlyingLowError]) -> None:
    error = soap11(code)
    assert type(error) is expected
    assert error.message == "said"


def test_soap_12() -> None:
    text = (
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" {NAMES}><s:Body><s:Fault>'
        '<s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang="en">said</s:Text></s:Reason>'
        f"<s:Detail><r:ResourceUnknownFault>{BASE}</r:ResourceUnknownFault></s:Detail></s:Fault></s:Body></s:Envelope>"
    )
    fault = faults.find(parse(text.encode()))
    assert fault is not None
    assert type(faults.read(fault)) is UnknownError


@pytest.mark.parametrize(("status", "expected"), [(503, TransientError), (413, InvalidError), (418, BrokenError)])
def test_answers_that_are_no_soap(status: int, expected: type[FlyingLowError]) -> None:
    error = faults.of_status(status, "http://there/factory")
    assert type(error) is expected
    assert "http://there/factory" in error.message
