import pytest
from lxml import etree

from flyinglow.client import Epr
from flyinglow.client.epr import RESOURCE_ID
from flyinglow.nodectl.errors import InvalidError

TEXT = (
    '<E xmlns:wsa="http://www.w3.org/2005/08/addressing"><wsa:Address>http://h:1/workspace</wsa:Address>'
    '<wsa:ReferenceParameters><f:ResourceID xmlns:f="urn:flyinglow:types:1">abc</f:ResourceID>'
    '<o:Other xmlns:o="urn:o" a="1"/></wsa:ReferenceParameters></E>'
)


def test_reference_parameters_become_marked_headers_and_nothing_is_lost() -> None:
    epr = Epr.parse(etree.fromstring(TEXT))
    first, second = epr.headers()
    assert (first.tag, first.text) == (RESOURCE_ID, "abc")
    assert second.get("a") == "1"
    mark = "{http://www.w3.org/2005/08/addressing}IsReferenceParameter"
    assert [each.get(mark) for each in (first, second)] == ["true", "true"]
    assert Epr.parse(epr.element()) == epr
    assert all(each.get(mark) is None for each in epr.elements())


def test_url_and_kind() -> None:
    epr = Epr.parse(etree.fromstring(TEXT))
    assert (epr.url, epr.kind, epr.resource_id) == ("http://h:1/workspace/abc", "workspace", "abc")
    plain = Epr.parse("http://h:1/prefix/ensemble/xyz/")
    assert (plain.url, plain.kind, plain.headers()) == ("http://h:1/prefix/ensemble/xyz", "ensemble", [])


@pytest.mark.parametrize("given", ["file:///etc/passwd", "abc", etree.fromstring("<E/>")])
def test_what_is_none_is_refused(given: object) -> None:
    with pytest.raises(InvalidError):
        Epr.parse(given)  # type: ignore[arg-type]


def test_an_address_of_something_else_has_no_kind() -> None:
    with pytest.raises(InvalidError, match="http://h/factory"):
        _ = Epr.parse("http://h/factory").kind
