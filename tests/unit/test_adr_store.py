import pytest

from adr.parsed import Parsed, RecentlyParsed
from adr.store import Record, each_record
from emulator.store import SqliteStore


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000])
def test_each_record_goes_through_all_pages(count: int) -> None:
    store = SqliteStore(":memory:")
    store.put("t", "another", "{}")
    keys = [f"k{n:05}" for n in range(count)]
    for key in keys:
        store.put("t", key, "{}")
    assert [record.key for record in each_record(store, "t", "k")] == keys


def test_parsed_value_is_the_same_object_while_the_text_is_the_same() -> None:
    parsed = Parsed(lambda key, text: [key, text])
    first = parsed.of(Record("k", "1", 1))
    assert first == ["k", "1"]
    assert parsed.of(Record("k", "1", 2)) is first


def test_another_text_under_the_same_revision_is_parsed_anew() -> None:
    parsed = Parsed(lambda key, text: [key, text])
    parsed.of(Record("k", "1", 1))
    assert parsed.of(Record("k", "2", 1)) == ["k", "2"]


def test_recent_record_is_parsed_once_and_anew_when_it_changed() -> None:
    parsed = RecentlyParsed(lambda record: [record.value, record.revision], 10)
    first = parsed.of(Record("k", "a", 1))
    assert parsed.of(Record("k", "a", 1)) is first
    assert parsed.of(Record("k", "a", 2)) == ["a", 2], "the revision counts: an ETag is made of it"
    assert parsed.of(Record("k", "b", 2)) == ["b", 2]


def test_what_was_written_is_known_until_too_many_are() -> None:
    parsed = RecentlyParsed(lambda record: [record.value], 2)
    written = ["a"]
    parsed.know(Record("k", "a", 1), written)
    assert parsed.of(Record("k", "a", 1)) is written
    parsed.of(Record("l", "b", 1))
    parsed.of(Record("m", "c", 1))
    assert parsed.of(Record("k", "a", 1)) is not written
