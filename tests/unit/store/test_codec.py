"""What is written into a row is read out of it again, whatever it is."""

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend.lrm.model import Component
from flyinglow.store import codec
from flyinglow.store.batches import SIZE, batches
from flyinglow.store.tables import EPOCH
from flyinglow.workspace.model import Context, Disk, File, Kind, Nic, ResourceKey

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
maybe_words = st.none() | words
counts = st.integers(min_value=0, max_value=2**62)
lists = st.lists(words, max_size=3).map(tuple)
contents = st.binary(max_size=40)
times = st.integers(min_value=-(10**15), max_value=10**16).map(lambda ticks: EPOCH + timedelta(microseconds=ticks))

disks = st.builds(
    Disk,
    name=words,
    image=maybe_words,
    partition=maybe_words,
    blank_mb=st.none() | counts,
    mount=maybe_words,
    read_only=st.booleans(),
)
nics = st.builds(
    Nic,
    network=words,
    name=words,
    ip=words,
    prefix=counts,
    mac=words,
    hostname=words,
    gateway=maybe_words,
    dns=lists,
)
files = st.builds(File, path=words, content=contents, mode=counts)
contexts = st.builds(
    Context,
    provides=lists,
    requires=lists,
    keys=lists,
    user_data=contents,
    files=st.lists(files, max_size=3).map(tuple),
)


@given(st.lists(disks, max_size=3).map(tuple))
def test_disks(values: tuple[Disk, ...]) -> None:
    assert codec.load_disks(codec.dump_disks(values)) == values


@given(st.lists(nics, max_size=3).map(tuple))
def test_nics(values: tuple[Nic, ...]) -> None:
    assert codec.load_nics(codec.dump_nics(values)) == values


@given(contexts)
def test_contexts(value: Context) -> None:
    assert codec.load_context(codec.dump_context(value)) == value


def test_every_field_of_a_context_is_kept() -> None:
    assert {field.name for field in fields(Context)} == {"provides", "requires", "keys", "user_data", "files"}
    assert {field.name for field in fields(File)} == {"path", "content", "mode"}


@given(st.dictionaries(words, times, max_size=5))
def test_stamps(values: dict[str, datetime]) -> None:
    assert codec.load_stamps(codec.dump_stamps(values)) == values


@given(lists)
def test_strings(values: tuple[str, ...]) -> None:
    assert codec.load_strings(codec.dump_strings(values)) == values


@given(st.lists(st.tuples(words, st.builds(ResourceKey, st.sampled_from(Kind), words)), max_size=4).map(tuple))
def test_resources(values: Any) -> None:
    assert codec.load_resources(codec.dump_resources(values)) == values


components = st.builds(Component, nodes=counts, memory_mb=counts, cpus=counts)


@given(st.lists(components, max_size=4).map(tuple))
def test_components(values: tuple[Component, ...]) -> None:
    assert codec.load_components(codec.dump_components(values)) == values


@given(st.dictionaries(st.text(), st.none() | st.text() | counts | st.lists(st.booleans()), max_size=4))
def test_what_comes_from_outside(value: dict[str, Any]) -> None:
    dumped = codec.dump_foreign(value)
    assert codec.load(dumped) == value
    assert dumped.isascii()
    assert "\0" not in dumped


def test_what_is_empty_takes_no_room() -> None:
    assert codec.dump_disks(()) == codec.dump_nics(()) == codec.dump_context(Context()) == ""
    assert codec.dump({}) == "{}"


def test_batches_cut_nothing_away() -> None:
    values = list(range(2 * SIZE + 1))
    cut = list(batches(values))
    assert [len(batch) for batch in cut] == [SIZE, SIZE, 1]
    assert [value for batch in cut for value in batch] == values
    assert list(batches([])) == []
