"""The SOAP reference says what the code and the WSDLs say."""

import re

import pytest
from lxml import etree

from flyinglow.nodectl.errors import KINDS, FlyingLowError, UnknownError
from flyinglow.workspace.outcomes import OUTCOMES, Do, NoOp, Outcome, Verb
from flyinglow.workspace.states import NEXT
from rigs.contract import SAMPLES

ROOT = SAMPLES.parents[1]
TEXT = (ROOT / "docs" / "reference" / "soap.md").read_text(encoding="utf-8")
SERVICES = {
    "factory": "Factory",
    "workspace": "Workspace",
    "group": "Group",
    "ensemble": "Ensemble",
    "entry": "Entry",
    "subscription": "SubscriptionManager",
    "pullpoints": "CreatePullPoint",
    "pullpoint": "PullPoint",
    "broker": "NotificationBroker",
    "consumer": "NotificationConsumer",
}
W = "{http://schemas.xmlsoap.org/wsdl/}"
ACTION = "{http://www.w3.org/2007/05/addressing/metadata}Action"


def word(outcome: Outcome) -> str:
    if isinstance(outcome, Do):
        return f"{outcome.task} → {outcome.target}"
    return "no-op" if isinstance(outcome, NoOp) else "ConflictFault"


def outcome_table() -> str:
    rows = [f"| state, task | {' | '.join(Verb)} |", "| --- " * (len(Verb) + 1) + "|"]
    for status in NEXT:
        name = f"{status.state}, {status.task}" if status.task else str(status.state)
        rows.append(f"| {name} | {' | '.join(word(OUTCOMES[verb, status]) for verb in Verb)} |")
    return "\n".join(rows)


def test_the_table_of_outcomes_is_the_codes() -> None:
    assert outcome_table() in TEXT


@pytest.mark.parametrize("name", SERVICES)
def test_every_operation_is_described_with_its_action_and_faults(name: str) -> None:
    wsdl = etree.parse(ROOT / "wsdl" / f"{name}.wsdl").getroot()
    for operation in wsdl.iterfind(f"{W}portType/{W}operation"):
        heading = f"#### {SERVICES[name]}: {operation.get('name')}\n"
        assert heading in TEXT
        section = re.split(r"\n##", TEXT.partition(heading)[2], maxsplit=1)[0]
        given = operation.find(f"{W}input")
        assert given is not None
        assert f"`{given.get(ACTION)}`" in section
        faults = ", ".join(fault.get("name", "") for fault in operation.findall(f"{W}fault"))
        assert not faults or f"- faults: {faults}\n" in section


def test_nothing_is_described_that_is_not_published() -> None:
    described = set(re.findall(r"^#### (\w+: \w+)$", TEXT, re.MULTILINE))
    published = set()
    for name, title in SERVICES.items():
        wsdl = etree.parse(ROOT / "wsdl" / f"{name}.wsdl").getroot()
        published |= {f"{title}: {op.get('name')}" for op in wsdl.iterfind(f"{W}portType/{W}operation")}
    assert described == published


@pytest.mark.parametrize("error", [error for error in KINDS.values() if error is not UnknownError])
def test_every_kind_of_error_is_in_the_table_of_faults(error: type[FlyingLowError]) -> None:
    kind, retry = error.kind, "yes" if error.retryable else "no"
    assert f"| `fl:{kind.capitalize()}Fault` | `{kind}` | {retry} |" in TEXT
