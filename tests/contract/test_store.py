"""What every backend of the store port promises; a new backend is one more parameter of `open_store`."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adr.store import RevisionMismatch, Store, StoreError
from emulator.store import SqliteStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(":memory:" if request.param == "memory" else tmp_path / "state" / "hublet.db") as store:
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hublet.db"


def keys(store: Store, **bounds: object) -> list[str]:
    return [record.key for record in store.list("t", **bounds)]  # type: ignore[arg-type]


def fill_up(store: SqliteStore) -> None:
    """Leave no free page: every write that needs one fails from here on."""
    store.commit()
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")


def make_room(store: SqliteStore) -> None:
    store._database.execute("PRAGMA max_page_count = 1000000")


class TestRecords:
    def test_missing_record_is_none(self, store: Store) -> None:
        assert store.get("t", "k") is None

    def test_revision_starts_at_one_and_rises_by_one(self, store: Store) -> None:
        assert [store.put("t", "k", f'{{"n":{n}}}') for n in range(3)] == [1, 2, 3]
        record = store.get("t", "k")
        assert record is not None
        assert (record.key, record.value, record.revision) == ("k", '{"n":2}', 3)

    def test_tables_do_not_share_keys(self, store: Store) -> None:
        store.put("t", "k", "1")
        assert store.get("u", "k") is None
        assert store.put("u", "k", "2") == 1

    def test_expected_zero_writes_only_what_is_not_there(self, store: Store) -> None:
        assert store.put("t", "k", "1", expected=0) == 1
        with pytest.raises(RevisionMismatch, match=r"t 'k' has revision 1, revision 0 was expected"):
            store.put("t", "k", "2", expected=0)
        assert store.get("t", "k").value == "1"  # type: ignore[union-attr]

    def test_expected_revision_writes_only_over_that_revision(self, store: Store) -> None:
        store.put("t", "k", "1")
        assert store.put("t", "k", "2", expected=1) == 2
        with pytest.raises(RevisionMismatch, match="has revision 2, revision 1 was expected"):
            store.put("t", "k", "3", expected=1)
        with pytest.raises(RevisionMismatch, match="does not exist, revision 1 was expected"):
            store.put("t", "other", "3", expected=1)
        assert store.get("t", "k").value == "2"  # type: ignore[union-attr]

    def test_refused_write_keeps_the_other_writes_of_the_transaction(self, store: Store) -> None:
        store.put("t", "a", "1")
        with pytest.raises(RevisionMismatch):
            store.put("t", "a", "2", expected=7)
        store.commit()
        assert store.get("t", "a").value == "1"  # type: ignore[union-attr]

    def test_delete_tells_whether_there_was_one(self, store: Store) -> None:
        store.put("t", "k", "1")
        assert store.delete("t", "k") is True
        assert store.delete("t", "k") is False
        assert store.get("t", "k") is None

    def test_delete_of_another_revision_is_refused(self, store: Store) -> None:
        store.put("t", "k", "1")
        with pytest.raises(RevisionMismatch, match="has revision 1, revision 2 was expected"):
            store.delete("t", "k", expected=2)
        with pytest.raises(RevisionMismatch, match="does not exist, revision 1 was expected"):
            store.delete("t", "other", expected=1)
        assert store.delete("t", "k", expected=1) is True

    def test_list_is_in_code_point_order(self, store: Store) -> None:
        names = ["b", "a", "B", "é", "\U0001f600", "a\x00b", "", "aa"]
        for name in names:
            store.put("t", name, "1")
        assert keys(store) == sorted(name for name in names if name)

    def test_list_pages_with_prefix_after_and_limit(self, store: Store) -> None:
        for name in ["a/1", "a/2", "a/3", "a0", "b/1", "a"]:
            store.put("t", name, "1")
        assert keys(store, prefix="a/") == ["a/1", "a/2", "a/3"]
        assert keys(store, prefix="a/", limit=2) == ["a/1", "a/2"]
        assert keys(store, prefix="a/", after="a/2") == ["a/3"]
        assert keys(store, prefix="c") == []

    @pytest.mark.parametrize("prefix", ["\ud7ff", "x\U0010ffff", "\U0010ffff", "\x00", "%", "_", "*"])
    def test_list_takes_any_character_as_prefix(self, store: Store, prefix: str) -> None:
        for name in [prefix, prefix + "z", "y", "w"]:
            store.put("t", name, "1")
        assert keys(store, prefix=prefix) == [prefix, prefix + "z"]


class TestStreams:
    def test_sequence_starts_at_zero_in_each_stream_and_rises_by_one(self, store: Store) -> None:
        assert [store.append("s", "h") for _ in range(3)] == [0, 1, 2]
        assert store.append("other", "h") == 0

    def test_entry_is_read_as_appended_before_and_after_the_commit(self, store: Store) -> None:
        store.append("s", '{"a":1}', b"\x00\xff")
        for _ in range(2):
            (entry,) = store.read("s")
            assert (entry.sequence, entry.header, entry.body) == (0, '{"a":1}', b"\x00\xff")
            store.commit()

    def test_read_starts_anywhere_and_stops_at_the_limit(self, store: Store) -> None:
        for stream in ("before", "s", "after"):
            for n in range(5):
                store.append(stream, f"{stream}{n}")
        assert [entry.header for entry in store.read("s", 3)] == ["s3", "s4"]
        assert [entry.sequence for entry in store.read("s", 1, limit=2)] == [1, 2]
        assert [entry.header for entry in store.read("s", -(2**41), limit=1)] == ["s0"]
        assert store.read("s", 5) == []
        assert store.read("no such stream") == []

    def test_trim_drops_the_oldest_entries_of_one_stream(self, store: Store) -> None:
        for stream in ("before", "s", "after"):
            for n in range(5):
                store.append(stream, f"{stream}{n}")
        store.trim("s", 3)
        store.commit()
        assert [entry.sequence for entry in store.read("s")] == [3, 4]
        assert [len(store.read(name)) for name in ("before", "after")] == [5, 5]

    def test_trim_keeps_the_last_entry_and_the_numbers_go_on(self, store: Store) -> None:
        for _ in range(3):
            store.append("s", "h")
        for before in (99, -1, 0):
            store.trim("s", before)
        store.trim("no such stream", 1)
        assert [entry.sequence for entry in store.read("s")] == [2]
        assert store.append("s", "h") == 3

    def test_streams_are_named_by_prefix(self, store: Store) -> None:
        for name in ("hub1/events/1", "hub1/events/0", "hub2/events/0"):
            store.append(name, "h")
        assert list(store.streams("hub1/")) == ["hub1/events/0", "hub1/events/1"]
        assert len(list(store.streams())) == 3


class TestFailedWrite:
    def test_failed_commit_undoes_everything_since_the_last_one(self, store: SqliteStore) -> None:
        store.put("t", "kept", "1")
        store.append("s", "kept")
        fill_up(store)
        store.put("t", "kept", "2")
        for _ in range(200):
            store.append("s", "lost", b"x" * 1000)
        with pytest.raises(StoreError, match=r"undone: database or disk is full"):
            store.commit()
        assert store.get("t", "kept").value == "1"  # type: ignore[union-attr]
        assert [entry.header for entry in store.read("s")] == ["kept"]

    def test_sequence_is_neither_skipped_nor_used_twice_after_a_rollback(self, store: SqliteStore) -> None:
        store.append("s", "kept")
        fill_up(store)
        store.append("s", "lost", b"x" * 100_000)
        with pytest.raises(StoreError):
            store.commit()
        make_room(store)
        assert store.append("s", "next") == 1
        assert store.append("new", "first") == 0
        store.commit()
        assert [entry.header for entry in store.read("s")] == ["kept", "next"]

    def test_failed_write_makes_the_commit_fail_for_those_who_wrote_before(self, store: SqliteStore) -> None:
        fill_up(store)
        store.append("s", "acknowledged if the commit passes")
        store.put("t", "big", "x" * 100_000)
        with pytest.raises(StoreError):
            store.list("t")  # which finds what is written only in the file
        with pytest.raises(StoreError, match="undone"):
            store.put("t", "k", "1")
        with pytest.raises(StoreError, match="undone"):
            store.delete("t", "k")
        with pytest.raises(StoreError, match="undone"):
            store.append("s", "h")
        with pytest.raises(StoreError, match="undone"):
            store.commit()
        assert store.read("s") == []

    def test_store_works_again_when_there_is_room(self, store: SqliteStore) -> None:
        fill_up(store)
        store.put("t", "big", "x" * 100_000)
        with pytest.raises(StoreError):
            store.commit()
        assert store.get("t", "big") is None
        make_room(store)
        store.put("t", "big", "x" * 100_000)
        store.commit()
        assert store.get("t", "big") is not None

    def test_read_that_cannot_flush_says_so_and_so_does_the_commit(self, store: SqliteStore) -> None:
        store.append("s", "kept")
        fill_up(store)
        store.append("s", "lost", b"x" * 100_000)
        with pytest.raises(StoreError, match="full"):
            store.read("s")
        with pytest.raises(StoreError, match="full"):
            store.commit()

    def test_read_only_database_is_refused_at_the_commit(self, store: SqliteStore) -> None:
        store.put("t", "k", "1")
        store.commit()
        store._database.execute("PRAGMA query_only = 1")
        store.put("t", "k", "2")
        with pytest.raises(StoreError, match="readonly"):
            store.commit()
        assert store.get("t", "k").value == "1"  # type: ignore[union-attr]

    def test_what_is_put_is_found_by_every_verb_before_the_commit(self, store: SqliteStore) -> None:
        store.put("t", "k", "1")
        store.put("t", "k", "2")
        store.put("t", "gone", "1")
        assert store.delete("t", "gone") is True
        assert store.delete("t", "gone") is False
        assert [(record.key, record.value, record.revision) for record in store.list("t")] == [("k", "2", 2)]
        store.put("t", "k", "3", expected=2)
        assert store.get("t", "k").value == "3"  # type: ignore[union-attr]

    def test_what_is_put_survives_that_memory_is_short(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is forgotten for room is in the file by then."""
        monkeypatch.setattr("emulator.store.MAX_RECENT", 3)
        for number in range(10):
            store.put("t", f"k{number}", str(number))
        assert [store.get("t", f"k{number}").value for number in range(10)] == [str(number) for number in range(10)]  # type: ignore[union-attr]

    def test_commit_with_nothing_to_write_passes(self, store: SqliteStore) -> None:
        store._database.execute("PRAGMA query_only = 1")
        store.commit()

    def test_closed_store_is_a_store_error(self, store: SqliteStore) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.get("t", "k")


class TestRestart:
    def test_committed_survives_and_uncommitted_does_not(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.put("t", "k", "1")
            store.append("s", "kept")
            store.commit()
            store.put("t", "k", "2")
            store.append("s", "lost")
        with SqliteStore(path) as store:
            assert store.get("t", "k").value == "1"  # type: ignore[union-attr]
            assert [entry.header for entry in store.read("s")] == ["kept"]

    def test_sequences_and_revisions_go_on_where_they_were(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.put("t", "k", "1")
            for stream in ("a", "b", "b"):
                store.append(stream, "h")
            store.commit()
        with SqliteStore(path) as store:
            assert (store.append("a", "h"), store.append("b", "h"), store.append("c", "h")) == (1, 2, 0)
            assert store.put("t", "k", "2") == 2

    def test_opening_a_hundred_thousand_records_reads_next_to_nothing(self, path: Path) -> None:
        if not Path("/proc/self/io").exists():
            pytest.skip("needs the byte counters of Linux")
        with SqliteStore(path) as store:
            for n in range(100_000):
                store.put("t", f"device-{n:06}", '{"status":"enabled","etag":"0000000000000000"}')
            store.commit()
        before = bytes_read()
        with SqliteStore(path) as store:
            assert store.get("t", "device-099999") is not None
        assert path.stat().st_size > 5_000_000
        assert bytes_read() - before < 500_000

    def test_kill_mid_write_loses_nothing_committed(self, path: Path) -> None:
        """A child commits a record and an entry at a time and says so; what it said is there after SIGKILL."""
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(300)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.stdout.close()
        child.wait()
        with SqliteStore(path) as store:
            records = [int(record.value) for record in store.list("t", limit=1_000_000)]
            entries = [entry.sequence for entry in store.read("s", limit=1_000_000)]
        assert records[: len(acknowledged)] == acknowledged
        assert records == entries == list(range(len(records)))


WRITER = """
import itertools, sys
from pathlib import Path
from emulator.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
for n in itertools.count():
    store.put("t", f"{n:09}", str(n))
    store.append("s", "h", b"x" * 500)
    store.commit()
    print(n, flush=True)
"""


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


class TestOpening:
    def test_second_opener_is_refused_with_the_owner(self, path: Path) -> None:
        with (
            SqliteStore(path),
            pytest.raises(StoreError, match=rf"in use by process {os.getpid()}: stop that hublet first"),
        ):
            SqliteStore(path)
        SqliteStore(path).close()

    def test_second_process_is_refused(self, path: Path) -> None:
        """The lock holds between processes, not only within one."""
        code = "import sys; from emulator.store import SqliteStore; SqliteStore(sys.argv[1])"
        with SqliteStore(path):
            refused = subprocess.run(
                [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
            )
        assert refused.returncode == 1
        assert f"is in use by process {os.getpid()}" in refused.stderr

    def test_state_is_readable_by_its_owner_only(self, path: Path) -> None:
        with SqliteStore(path) as store:
            store.put("t", "k", "1")
            store.commit()
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}

    def test_newer_schema_is_refused(self, path: Path) -> None:
        SqliteStore(path).close()
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 7")
        database.close()
        with pytest.raises(
            StoreError, match=r"has schema version 7, this hublet knows 2: use the hublet that wrote it"
        ):
            SqliteStore(path)

    def test_database_of_another_program_is_refused(self, path: Path) -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE theirs (x)")
        database.close()
        with pytest.raises(StoreError, match="has schema version 0"):
            SqliteStore(path)

    def test_file_that_is_no_database_is_refused_and_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"a letter to my aunt" * 100)
        with pytest.raises(StoreError, match="file is not a database"):
            SqliteStore(path)
        assert path.read_bytes().startswith(b"a letter")

    def test_refused_file_is_not_left_locked(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"a letter to my aunt" * 100)
        with pytest.raises(StoreError):
            SqliteStore(path)
        path.unlink()
        SqliteStore(path).close()

    def test_state_directory_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "state").write_text("")
        with pytest.raises(StoreError, match="cannot be opened"):
            SqliteStore(tmp_path / "state" / "hublet.db")
