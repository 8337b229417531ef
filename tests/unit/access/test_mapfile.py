"""The grid-mapfile, in the syntax that sites have."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.access import mapfile, subjects
from flyinglow.nodectl.errors import InvalidError

TEXT = r"""
# people
"/O=Grid/CN=Alice Liddell" alice,physics
/O=Grid/CN=Bob   bob
"CN=Carol,O=Grid" carol, .pool
"/O=Gr\"id/CN=q\x2fCN=z" q

"/O=Grid/CN=Bob" more   # by whom, since when
"/atlas/Role=pilot/Capability=NULL" pilots
"/atlas/*" atlas
"""


def groups(subject: str, *attributes: str) -> set[str]:
    return set(mapfile.parse(TEXT).groups(subjects.of_slashes(subject), attributes))


def test_names_are_found_by_structure() -> None:
    assert groups("/O=Grid/CN=Alice Liddell") == {"alice", "physics"}
    assert groups("/O=Grid/CN=Bob") == {"bob", "more"}
    assert groups("/O=Grid/CN=Carol") == {"carol", "pool"}
    assert groups('/O=Gr"id/CN=q\\/CN=z') == {"q"}
    assert groups('/O=Gr"id/CN=q/CN=z') == set()
    assert groups("/O=Grid/CN=bob") == set()


def test_attributes_are_found_by_themselves_and_by_what_they_are_below() -> None:
    assert groups("/O=Grid/CN=Zoe", "/atlas/Role=pilot") == {"pilots", "atlas"}
    assert groups("/O=Grid/CN=Zoe", "/atlas") == {"atlas"}
    assert groups("/O=Grid/CN=Zoe", "/atlasmore", "/cms/atlas") == set()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"/O=Grid/CN=Alice alice', "not closed"),
        ('"/O=Grid/CN=Alice"', "no name follows"),
        ('"/O=Grid/CN=Alice" a;b', "'a;b' is no name"),
        ('"/O=Grid/CN=Alice" a,,b', "'' is no name"),
        ('"/O=Grid/CN=Alice"alice', "nothing parts"),
        ('"/O=Grid/CN=Alice" # alice', "no name follows"),
        ('"/O=Grid/CN=Alice" alice#1', "'alice#1' is no name"),
        ('"/atlas*" atlas', "after the last slash"),
        ('"/atlas/*/Role=pilot" atlas', "after the last slash"),
        ("Alice alice", "no name"),
        ('"/FOO=x/CN=Alice" alice', "no type of attribute"),
    ],
)
def test_a_faulty_line_is_named_and_nothing_of_the_file_is_taken(line: str, said: str) -> None:
    with pytest.raises(InvalidError, match="line 2") as caught:
        mapfile.parse(f'"/O=Grid/CN=Bob" bob\n{line}\n')
    assert said in caught.value.message


@given(st.text(max_size=80))
def test_whatever_stands_there_is_taken_or_refused(text: str) -> None:
    with suppress(InvalidError):
        mapfile.parse(text)
