"""The messages of WS-ResourceProperties 1.2 that change properties, over a directory with one name and one place."""

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
DOCUMENT = qname("fl", "WorkspaceProperties")
ONE_EACH = ("Insert", "Update", "Delete")


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
    return endpoint(shelf, modification.port(shelf, DOCUMENT), on_message=seen)


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
        (put("Insert", "<fl:State><deep/></fl:State>"), "UnableToModifyResourcePropertyFault"),
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


def one(word: str, component: str, soap: str = "1.1", header: str = W1) -> bytes:
    return message(f"<rp:{word}ResourceProperties>{component}</rp:{word}ResourceProperties>", header, soap)


def whole(*properties: str, root: str = "WorkspaceProperties", soap: str = "1.1") -> bytes:
    document = f"<fl:{root}>{''.join(properties)}</fl:{root}>"
    return message(f"<rp:PutResourcePropertyDocument>{document}</rp:PutResourcePropertyDocument>", W1, soap)


def failure_of(found: etree._Element | None) -> etree._Element:
    assert found is not None
    failure = found.find(qname("rp", "ResourcePropertyChangeFailure"))
    assert failure is not None
    return failure


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_each_component_has_a_message_of_its_own(workspace: Endpoint, shelf: Changing, soap: str) -> None:
    steps = [
        ("Insert", put("Insert", place("file:///a")), {NAME: ("one",), PLACE: ("file:///a",)}),
        ("Update", put("Update", name("two"), place("file:///b")), {NAME: ("two",), PLACE: ("file:///b",)}),
        ("Delete", delete("fl:SaveTo"), {NAME: ("two",), PLACE: ()}),
    ]
    for word, component, after in steps:
        answer = body_of(workspace.call(one(word, component, soap), soap=soap), soap)
        assert (answer.tag, len(answer)) == (qname("rp", f"{word}ResourcePropertiesResponse"), 0)
        assert shelf.texts == after


def test_each_message_has_the_action_of_the_standard(workspace: Endpoint) -> None:
    names = (*(f"{word}ResourceProperties" for word in ("Set", *ONE_EACH)), "PutResourcePropertyDocument")
    expected = {(qname("rp", name), f"{RPW}{name}/{name}Request") for name in names}
    assert expected <= set(workspace.routes())


@pytest.mark.parametrize(
    ("word", "component", "fault"),
    [
        ("Insert", put("Insert", name("two")), "InvalidModificationFault"),
        ("Insert", put("Insert", "<fl:State>Paused</fl:State>"), "UnableToModifyResourcePropertyFault"),
        ("Update", put("Update", "<fl:Nothing/>"), "InvalidModificationFault"),
        ("Update", put("Update", "<fl:State>Paused</fl:State>"), "UnableToModifyResourcePropertyFault"),
        ("Delete", delete("fl:Name"), "InvalidModificationFault"),
        ("Delete", delete("fl:State"), "UnableToModifyResourcePropertyFault"),
        ("Delete", delete("fl:Nothing"), "InvalidResourcePropertyQNameFault"),
    ],
)
def test_one_component_that_cannot_be_changes_nothing(
    workspace: Endpoint, shelf: Changing, word: str, component: str, fault: str
) -> None:
    before = dict(shelf.texts)
    assert fault_of(workspace.call(one(word, component))).kind == qname("rp", fault)
    assert shelf.texts == before


@pytest.mark.parametrize("word", ONE_EACH)
def test_what_cannot_be_done_now_has_the_fault_of_its_message(workspace: Endpoint, shelf: Changing, word: str) -> None:
    shelf.refuse = ConflictError("it is over")
    component = {"Insert": put("Insert", place("file:///b")), "Update": put("Update", name("two"))}
    shelf.texts[PLACE] = () if word == "Insert" else ("file:///a",)
    found = fault_of(workspace.call(one(word, component.get(word, delete("fl:SaveTo")))))
    assert found.kind == qname("rp", f"{word}ResourcePropertiesRequestFailedFault")
    assert failure_of(found.detail).get("Restored") == "true"


@pytest.mark.parametrize("word", ONE_EACH)
def test_a_message_has_its_own_component_and_one_only(workspace: Endpoint, shelf: Changing, word: str) -> None:
    other = delete("fl:SaveTo") if word != "Delete" else put("Update", name("two"))
    own = {"Insert": put("Insert", place("file:///a")), "Update": put("Update", name("two"))}.get(
        word, delete("fl:SaveTo")
    )
    for component in ("", other, own + own):
        assert "schema" in fault_of(workspace.call(one(word, component))).text
    assert shelf.texts == {NAME: ("one",), PLACE: ()}


STATE, DIALECT = "<fl:State>Running</fl:State>", (
    "<rp:QueryExpressionDialect>http://www.w3.org/TR/1999/REC-xpath-19991116</rp:QueryExpressionDialect>"
)  # fmt: skip


@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_a_document_that_is_as_it_was_put_is_not_sent_back(workspace: Endpoint, shelf: Changing, soap: str) -> None:
    asked = whole(STATE, "\n ", name("two"), place("file:///a"), DIALECT, soap=soap)
    answer = body_of(workspace.call(asked, soap=soap), soap)
    assert (answer.tag, len(answer)) == (qname("rp", "PutResourcePropertyDocumentResponse"), 0)
    assert shelf.texts == {NAME: ("two",), PLACE: ("file:///a",)}


def test_a_document_that_is_other_than_it_was_put_is_the_answer(shelf: Changing) -> None:
    """What cannot be changed is left as it is; what may be absent and is not there is deleted."""
    workspace = endpoint(shelf, modification.port(shelf, DOCUMENT))  # the schemas ask for more than a shelf has
    shelf.texts[PLACE] = ("file:///a",)
    (document,) = body_of(workspace.call(whole("<fl:State>Paused</fl:State>", name("two"))))
    assert document.tag == DOCUMENT
    assert [child.text for child in document][:2] == ["Running", "two"]
    assert shelf.texts == {NAME: ("two",), PLACE: ()}


def test_a_document_as_it_was_read_changes_nothing(shelf: Changing) -> None:
    workspace = endpoint(shelf, modification.port(shelf, DOCUMENT))
    read = body_of(workspace.call(message("<rp:GetResourcePropertyDocument/>", W1)))[0]
    assert read.findtext(NAME) == "one"
    text = etree.tostring(read, encoding="unicode")
    asked = message(f"<rp:PutResourcePropertyDocument>{text}</rp:PutResourcePropertyDocument>", W1)
    assert len(body_of(workspace.call(asked))) == 0
    assert shelf.texts == {NAME: ("one",), PLACE: ()}


@pytest.mark.parametrize(
    ("properties", "root"),
    [
        ((STATE,), "WorkspaceProperties"),
        ((name("two"), name("three")), "WorkspaceProperties"),
        (("<fl:Name><deep/></fl:Name>",), "WorkspaceProperties"),
        ((name("two"), "<fl:Nothing/>"), "WorkspaceProperties"),
        ((name("two"),), "GroupProperties"),
    ],
)
@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_a_document_that_cannot_be_changes_nothing(
    workspace: Endpoint, shelf: Changing, seen: Seen, properties: tuple[str, ...], root: str, soap: str
) -> None:
    fault = qname("rp", "UnableToPutResourcePropertyDocumentFault")
    found = fault_of(workspace.call(whole(*properties, root=root, soap=soap), soap=soap), soap)
    assert found.kind == fault
    assert failure_of(found.detail).get("Restored") == "true"
    assert shelf.texts == {NAME: ("one",), PLACE: ()}
    assert ("fault", fault) in seen.messages


@pytest.mark.parametrize("error", [InvalidError("too long"), ConflictError("it is over")])
def test_a_document_that_the_service_refuses_tells_what_is_and_what_was_asked_for(
    workspace: Endpoint, shelf: Changing, error: Exception
) -> None:
    shelf.refuse = error
    found = fault_of(workspace.call(whole(name("two"))))
    assert found.kind == qname("rp", "UnableToPutResourcePropertyDocumentFault")
    assert failure_of(found.detail).findtext(f"{qname('rp', 'CurrentValue')}/{NAME}") == "one"
    assert failure_of(found.detail).findtext(f"{qname('rp', 'RequestedValue')}/{NAME}") == "two"
