"""SetResourceProperties (WS-ResourceProperties 1.2, section 6) over a directory with one name and one colour."""

from collections.abc import Mapping

import pytest
from lxml import etree

from flyinglow.nodectl.errors import ConflictError, InvalidError
from flyinglow.wsrf import modification
from flyinglow.wsrf.endpoint import Endpoint
from flyinglow.wsrf.xml import E, qname
from rigs.soap import RPW, Seen, Shelf, body_of, endpoint, fault_of, message

W1 = "<fl:ResourceID>w1</fl:ResourceID>"
NAME, PLACE = qname("fl", "Name"), qname("fl", "SaveTo")


class Changing(Shelf):
    """A shelf whose workspace has a name, exactly one, and at most one place."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, tuple[str, ...]] = {NAME: ("one",), PLACE: ()}
        self.refuse: Exception | None = None

    def property_names(self) -> tuple[str, ...]:
        return (*super().property_names(), NAME, PLACE)

    def properties(self, caller: object, resource: str, names: object) -> dict[str, list[etree._Element]]:
        self._find(resource)
        made = {
            NAME: [E["fl"].Name(text) for text in self.texts[NAME]],
            PLACE: [E["fl"].SaveTo(text) for text in self.texts[PLACE]],
        }
        return made | super().properties(caller, resource, None)

    def mutable(self) -> Mapping[str, tuple[int, int]]:
        return {NAME: (1, 1), PLACE: (0, 1)}

    def change(self, caller: object, resource: str, wanted: Mapping[str, tuple[str, ...]]) -> None:
        self._find(resource)
        if self.refuse is not None:
            raise self.refuse
        self.texts |= wanted


@pytest.fixture
def shelf() -> Changing:
    return Changing()


@pytest.fixture
def workspace(shelf: Changing, seen: Seen) -> Endpoint:
    return endpoint(shelf, modification.port(shelf), on_message=seen)


def ask(components: str, soap: str = "1.1", header: str = W1) -> bytes:
    return message(f"<rp:SetResourceProperties>{components}</rp:SetResourceProperties>", header, soap)


def put(word: str, *elements: str) -> str:
    return f"<rp:{word}>{''.join(elements)}</rp:{word}>"


def place(text: str) -> str:
    return f"<fl:SaveTo>{text}</fl:SaveTo>"


def name(text: str) -> str:
    return f"<fl:Name>{text}</fl:Name>"


def delete(what: str) -> str:
    return f'<rp:Delete ResourceProperty="{what}"/>'


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_an_update_replaces_what_is_there(workspace: Endpoint, shelf: Changing, soap: str) -> None:
    answer = body_of(workspace.call(ask(put("Update", name("two")), soap), soap=soap), soap)
    assert answer.tag == qname("rp", "SetResourcePropertiesResponse")
    assert shelf.texts == {NAME: ("two",), PLACE: ()}
    assert (qname("rp", "SetResourceProperties"), f"{RPW}SetResourceProperties/SetResourcePropertiesRequest") in (
        workspace.routes()
    )


def test_components_are_applied_in_their_order_and_made_true_together(workspace: Endpoint, shelf: Changing) -> None:
    shelf.texts[PLACE] = ("file:///old",)
    asked = delete("fl:SaveTo") + put("Insert", place("file:///new")) + put("Update", name(" two "))
    assert workspace.call(ask(asked)).status == 200
    assert shelf.texts == {NAME: ("two",), PLACE: ("file:///new",)}


def test_what_may_be_absent_can_be_inserted_and_deleted(workspace: Endpoint, shelf: Changing) -> None:
    workspace.call(ask(put("Insert", place("file:///a"))))
    assert shelf.texts[PLACE] == ("file:///a",)
    workspace.call(ask(delete("fl:SaveTo")))
    assert shelf.texts[PLACE] == ()


@pytest.mark.parametrize(
    ("components", "fault"),
    [
        (put("Insert", name("two")), "InvalidModificationFault"),
        (put("Update", name("two"), name("three")), "InvalidModificationFault"),
        (delete("fl:Name"), "InvalidModificationFault"),
        (put("Update", "<fl:Name><deep/></fl:Name>"), "InvalidModificationFault"),
        (put("Update", "<fl:Nothing>x</fl:Nothing>"), "InvalidModificationFault"),
        (put("Update", "<other/>"), "InvalidModificationFault"),
        (put("Update", "<fl:State>Paused</fl:State>"), "UnableToModifyResourcePropertyFault"),
        (put("Insert", "<fl:State>Paused</fl:State>"), "UnableToModifyResourcePropertyFault"),
        (delete("fl:State"), "UnableToModifyResourcePropertyFault"),
        (delete("rp:QueryExpressionDialect"), "InvalidResourcePropertyQNameFault"),
        (delete("fl:Nothing"), "InvalidResourcePropertyQNameFault"),
        (put("Update", name("two")) + put("Update", "<fl:State>Paused</fl:State>"),
         "UnableToModifyResourcePropertyFault"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_what_cannot_be_changed_changes_nothing(
    workspace: Endpoint, shelf: Changing, seen: Seen, components: str, fault: str, soap: str
) -> None:
    before = dict(shelf.texts)
    assert fault_of(workspace.call(ask(components, soap), soap=soap), soap).kind == qname("rp", fault)
    assert shelf.texts == before
    assert ("fault", qname("rp", fault)) in seen.messages


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (InvalidError("too long"), "InvalidModificationFault"),
        (ConflictError("it is over"), "SetResourcePropertyRequestFailedFault"),
    ],
)
def test_what_the_service_refuses_tells_what_is_and_what_was_asked_for(
    workspace: Endpoint, shelf: Changing, seen: Seen, error: Exception, fault: str
) -> None:
    shelf.refuse = error
    found = fault_of(workspace.call(ask(put("Update", name("two")))))
    assert found.kind == qname("rp", fault)
    assert found.detail is not None
    failure = found.detail.find(qname("rp", "ResourcePropertyChangeFailure"))
    assert failure is not None
    assert failure.get("Restored") == "true"
    assert failure.findtext(f"{qname('rp', 'CurrentValue')}/{NAME}") == "one"
    assert failure.findtext(f"{qname('rp', 'RequestedValue')}/{NAME}") == "two"
    assert ("fault", qname("rp", fault)) in seen.messages


def test_another_resource_is_unknown(workspace: Endpoint) -> None:
    asked = ask(put("Update", name("two")), header="<fl:ResourceID>w2</fl:ResourceID>")
    assert fault_of(workspace.call(asked)).kind == qname("r", "ResourceUnknownFault")


@pytest.mark.parametrize("components", ["", "<rp:Upsert/>", "<rp:Insert/>", "<rp:Delete/>"])
def test_what_is_no_change_at_all_never_arrives(workspace: Endpoint, components: str) -> None:
    assert "schema" in fault_of(workspace.call(ask(components))).text
