"""The SOAP reference says what the code and the WSDLs say."""

import re

import pytest
from lxml import etree

from flyinglow.nodectl.errors import KINDS, FlyingLowError, UnknownError
from flyinglow.workspace.outcomes import OUTCOMES, Do, NoOp, Outcome, Verb
from flyinglow.workspace.producer_xml import topic_names
from flyinglow.workspace.states import NEXT
from flyinglow.wsrf.xml import NS, qname
from rigs.contract import CE, ENSEMBLE, GROUP, MEMBERS, SAMPLES, SUBSCRIPTION
from rigs.contract_site import Site

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


PROPERTIES = [
    "Workspace", "Group", "Ensemble", "Factory", "Entry", "Subscription", "PullPoint", "Broker",
]  # fmt: skip


@pytest.mark.parametrize("kind", PROPERTIES)
def test_every_property_is_in_the_list_of_properties(kind: str) -> None:
    """Those that all producers, or all resources, have in common are named once."""
    types = etree.parse(ROOT / "schemas" / "types.xsd").getroot()
    xs = "{http://www.w3.org/2001/XMLSchema}"
    (document,) = (each for each in types.findall(f"{xs}element") if each.get("name") == f"{kind}Properties")
    section = TEXT.partition("\n## Resource properties\n")[2].partition("\n## ")[0]
    assert f"`fl:{kind}Properties`" in section
    for each in document.iter(f"{xs}element"):
        prefix, _, local = each.get("ref", "").partition(":")
        name = local if prefix == "fl" else f"`{prefix}:{local}`"
        assert not local or re.search(rf"(?<![\w:]){re.escape(name)}(?!\w)", section), name


@pytest.mark.parametrize("name", topic_names(whole=True))
def test_every_topic_is_in_the_table_of_topics(name: str) -> None:
    shown = re.sub(r"^(rl|sg):", r"wsrf-\1:", name)
    assert f"| `{shown}` | " in TEXT.partition("\n## Notifications\n")[2]


def test_every_fault_is_in_the_table_of_faults_with_a_sample() -> None:
    section = TEXT.partition("\n## Faults\n")[2].partition("\n## ")[0]
    for wsdl in (ROOT / "wsdl").glob("*.wsdl"):
        for message in etree.parse(wsdl).getroot().iterfind(f"{W}message"):
            name = str(message.get("name"))
            if name.endswith("Fault"):
                row = re.search(rf"^\| `[\w-]+:{name}` .*$", section, re.MULTILINE)
                assert row, name
                assert f"(../samples/fault-{name}-response.xml)" in row.group() or "never sent" in row.group()


@pytest.mark.parametrize(
    ("service", "resource"),
    [
        ("workspace", CE.id),
        ("group", GROUP.id),
        ("ensemble", ENSEMBLE.id),
        ("entry", f"group.{GROUP.id}.{MEMBERS[2].id}"),
        ("subscription", SUBSCRIPTION),
    ],
)
def test_every_resource_has_the_properties_of_a_lifetime(site: Site, service: str, resource: str) -> None:
    asked = (
        f'<GetMultipleResourceProperties xmlns="{NS["rp"]}" xmlns:rl="{NS["rl"]}"><ResourceProperty>rl:CurrentTime'
        "</ResourceProperty><ResourceProperty>rl:TerminationTime</ResourceProperty></GetMultipleResourceProperties>"
    )
    now, end = site.body(service, asked, resource)
    assert (now.tag, end.tag) == (qname("rl", "CurrentTime"), qname("rl", "TerminationTime"))
    assert now.text == "2026-03-01T12:00:00Z"
