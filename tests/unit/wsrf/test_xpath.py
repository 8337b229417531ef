"""Expressions from outside: what they select, and that none can take more than it is given."""

import pytest

from flyinglow.nodectl.errors import ExhaustedError, InvalidError
from flyinglow.wsrf.xpath.evaluator import Part, ProcessXPath, Query, XPathLimits
from rigs.soap import XPATH

SPACES = {"x": "urn:x"}
DOCUMENT = b'<a xmlns="urn:x"><b c="1">t</b><b c="2"/></a>'
LARGE = b"<a>" + b"<b/>" * 600 + b"</a>"
ENDLESS = "count(//*[count(//*[count(//*[count(//*)>1])>1])>1])"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/x:a/x:b[1]", (Part('<b xmlns="urn:x" c="1">t</b>', is_element=True),)),
        ("//@c", (Part("1"), Part("2"))),
        ("//x:b/text()", (Part("t"),)),
        ("count(//x:b)", (Part("2"),)),
        ("count(//x:b) div 4", (Part("0.5"),)),
        ("count(//x:b) = 2", (Part("true"),)),
        ("string(//x:b)", (Part("t"),)),
        ("//x:nothing", ()),
        ("//b", ()),
    ],
)
def test_what_an_expression_selects(text: str, parts: tuple[Part, ...]) -> None:
    assert XPATH.select(DOCUMENT, Query(text, SPACES)) == parts


@pytest.mark.parametrize("text", ["", "//", "a b", "//y:b", "x" * 2001, "\0"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(InvalidError):
        XPATH.check(Query(text, SPACES))


def test_too_many_prefixes_are_refused() -> None:
    with pytest.raises(InvalidError, match="prefixes"):
        XPATH.check(Query("//a", {f"p{number}": "urn:x" for number in range(51)}))


FOREIGN = ["$v", "document('/etc/passwd')", "re:match('a', 'a')", "unknown()", "//a[position(1)]"]


@pytest.mark.parametrize("text", FOREIGN)
def test_nothing_beyond_the_standards_own_is_evaluated(text: str) -> None:
    query = Query(text, {"re": "http://exslt.org/regular-expressions"})
    with pytest.raises(InvalidError):
        XPATH.select(b"<a/>", query)


def test_an_expression_that_does_not_end_is_ended_and_the_next_is_evaluated() -> None:
    xpath = ProcessXPath(XPathLimits(seconds=0.2))
    try:
        with pytest.raises(ExhaustedError, match=r"longer than 0\.2 s"):
            xpath.select(LARGE, Query(ENDLESS))
        assert XPATH.select(LARGE, Query("count(//b)")) == (Part("600"),)
        assert xpath.holds(LARGE, [Query("//b"), Query(ENDLESS)]) == (None, None)
        assert xpath.holds(LARGE, [Query("//b"), Query("//c"), Query("count(//b) = 600")]) == (True, False, True)
    finally:
        xpath.close()


def test_an_expression_that_takes_all_memory_hurts_only_itself() -> None:
    xpath = ProcessXPath(XPathLimits(seconds=30))
    grown = "string(//b)"
    for _ in range(60):
        grown = f"concat({grown}, {grown})" if len(grown) < 900 else grown
    text = b"<a><b>" + b"x" * 30_000_000 + b"</b></a>"
    try:
        with pytest.raises((ExhaustedError, InvalidError)):
            xpath.select(text, Query(grown))
        assert xpath.select(DOCUMENT, Query("1")) == (Part("1"),)
    finally:
        xpath.close()


def test_an_answer_that_is_too_long_is_refused() -> None:
    xpath = ProcessXPath(XPathLimits(answer=1000))
    try:
        with pytest.raises(ExhaustedError, match="more than 1000 bytes"):
            xpath.select(LARGE, Query("//*"))
        assert xpath.select(LARGE, Query("1")) == (Part("1"),)
    finally:
        xpath.close()


def test_a_process_that_is_gone_is_made_again() -> None:
    xpath = ProcessXPath(argv=("/bin/false",))
    with pytest.raises(ExhaustedError):
        xpath.select(DOCUMENT, Query("1"))
    xpath.close()
