"""Against a model of dicts and lists: any run of writes, commits, failed commits and restarts leaves the same state."""

import shutil
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adr.store import Entry, RevisionMismatch, StoreError
from emulator.store import SqliteStore

TABLES = st.sampled_from(["t", "u"])
KEYS = st.sampled_from(["a", "ab", "b", "a/b", "\U0010ffff", "é"])
STREAMS = st.sampled_from(["s", "s/0", "r"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


class StoreMachine(RuleBasedStateMachine):
    """A file store beside a model that knows the records with their revisions, and the streams."""

    @initialize()
    def open(self) -> None:
        self.directory = Path(mkdtemp())
        self.store = SqliteStore(self.directory / "hublet.db")
        self.records: dict[tuple[str, str], tuple[str, int]] = {}
        self.streams: dict[str, list[Entry]] = {}
        self.remember()

    def remember(self) -> None:
        self.committed = deepcopy((self.records, self.streams))

    def forget(self) -> None:
        self.records, self.streams = deepcopy(self.committed)

    @rule(table=TABLES, key=KEYS, value=VALUES, expected=st.none() | st.integers(0, 3))
    def put(self, table: str, key: str, value: str, expected: int | None) -> None:
        present = self.records.get((table, key), ("", 0))[1]
        if expected not in {None, present}:
            with pytest.raises(RevisionMismatch):
                self.store.put(table, key, value, expected)
            return
        assert self.store.put(table, key, value, expected) == present + 1
        self.records[table, key] = (value, present + 1)

    @rule(table=TABLES, key=KEYS, expected=st.none() | st.integers(0, 3))
    def delete(self, table: str, key: str, expected: int | None) -> None:
        present = self.records.get((table, key), ("", 0))[1]
        if expected not in {None, present}:
            with pytest.raises(RevisionMismatch):
                self.store.delete(table, key, expected)
            return
        assert self.store.delete(table, key, expected) == (present > 0)
        self.records.pop((table, key), None)

    @rule(stream=STREAMS, header=VALUES, body=st.binary(max_size=5))
    def append(self, stream: str, header: str, body: bytes) -> None:
        entries = self.streams.setdefault(stream, [])
        sequence = entries[-1].sequence + 1 if entries else 0
        assert self.store.append(stream, header, body) == sequence
        entries.append(Entry(sequence, header, body))

    @rule(stream=STREAMS, before=st.integers(-1, 6))
    def trim(self, stream: str, before: int) -> None:
        self.store.trim(stream, before)
        entries = self.streams.get(stream, [])
        entries[:-1] = [entry for entry in entries[:-1] if entry.sequence >= before]

    @rule()
    def commit(self) -> None:
        self.store.commit()
        self.remember()

    @rule()
    def fail_to_commit(self) -> None:
        (pages,) = self.store._database.execute("PRAGMA page_count").fetchone()
        self.store._database.execute(f"PRAGMA max_page_count = {pages}")
        self.store.append("s", "h", b"x" * 1_000_000)
        with pytest.raises(StoreError):
            self.store.commit()
        self.store._database.execute("PRAGMA max_page_count = 1000000")
        self.forget()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.directory / "hublet.db")
        self.forget()

    @rule(table=TABLES, prefix=st.sampled_from(["", "a", "a/", "b", "\U0010ffff"]), after=KEYS, limit=st.integers(0, 3))
    def list_records(self, table: str, prefix: str, after: str, limit: int) -> None:
        wanted = sorted(key for owner, key in self.records if owner == table and key.startswith(prefix) and key > after)
        assert [record.key for record in self.store.list(table, prefix, after, limit)] == wanted[:limit]

    @invariant()
    def agrees(self) -> None:
        for table in ("t", "u"):
            found = {(table, each.key): (each.value, each.revision) for each in self.store.list(table)}
            assert found == {place: record for place, record in self.records.items() if place[0] == table}
        for stream, entries in self.streams.items():
            assert self.store.read(stream) == entries
        assert list(self.store.streams()) == sorted(self.streams)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
