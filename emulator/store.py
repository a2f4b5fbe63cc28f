"""The SQLite backend of the store port: one file in WAL mode, or memory, owned by one process at a time."""

import builtins
import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adr.store import Entry, Record, RevisionMismatch, StoreError
from emulator.lockfile import LockFile

logger = logging.getLogger("emulator")

Rows = list[Any]

# 2: an issuing CA has records of its own, one for each generation.
SCHEMA_VERSION = 2
# An entry's row id is its stream's number and its sequence side by side: a stream is one run of the table's own tree,
# so that appending needs no index. 2^23 streams of 2^40 entries fit into SQLite's 63 bits.
SEQUENCE_BITS = 40
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
DAMAGED_ADVICE = ": put a copy of it back, choose another --state-dir, or throw it away with `hublet reset`"
# Records kept in memory: some 20 MB at most, for records of the size of a device's.
MAX_RECENT = 16_384
# Lists kept in memory, of each table until it is written to: issuing CAs, enrollments, what every CONNECT goes through.
MAX_LISTS, MAX_LISTED = 64, 64

SCHEMA = """
CREATE TABLE records (
    tbl TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE TABLE streams (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE entries (id INTEGER PRIMARY KEY, header TEXT NOT NULL, body BLOB NOT NULL);
"""

GET = "SELECT value, revision FROM records WHERE tbl = ? AND key = ?"
PUT = """INSERT INTO records VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, revision = excluded.revision"""
DELETE = "DELETE FROM records WHERE tbl = ? AND key = ?"
LIST = """SELECT key, value, revision FROM records
WHERE tbl = ? AND key >= ? AND key > ? AND (? IS NULL OR key < ?) ORDER BY key LIMIT ?"""
APPEND = "INSERT INTO entries VALUES (?, ?, ?)"
TRIM = "DELETE FROM entries WHERE id >= ? AND id < ?"
READ = "SELECT id, header, body FROM entries WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"


class Tail:
    """Where the next entry of one stream goes: the row id of its sequence 0, and the next sequence."""

    __slots__ = ("base", "next")

    def __init__(self, base: int, next_sequence: int) -> None:
        self.base = base
        self.next = next_sequence


class SqliteStore:
    """A `Store` in one SQLite file, or in memory for `":memory:"`.

    `kill -9` loses nothing committed; a power cut may lose the last commits but leaves a file that opens
    (WAL with synchronous=NORMAL). A write that fails undoes everything since the last commit at once and makes
    the next `commit` fail: nothing acknowledged can rest on half of it.

    Raises:
        StoreError: another process has the file, it is not ours, newer than this program, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        # Records put and entries appended since the last flush: together they cost half of what they cost one by one.
        self._unwritten: dict[tuple[str, str], Record] = {}
        self._pending: list[tuple[int, str, bytes]] = []
        self._tails: dict[str, Tail] = {}
        # What was read or written lately. True to the file, because nobody else writes it, and because what is undone
        # is forgotten here too.
        self._recent: dict[tuple[str, str], Record | None] = {}
        self._lists: dict[str, dict[tuple[str, str, int], list[Record]]] = {}
        self._failure: str | None = None
        self._lock: LockFile | None = None
        if str(path) != ":memory:":
            self._lock = _claim(Path(path))
        try:
            self._database = _open(str(path))
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, table: str, key: str) -> Record | None:
        """Read one record.

        Raises:
            StoreError: the file could not be read.
        """
        place = (table, key)
        if place in self._recent:
            return self._recent[place]
        rows = self._query(GET, place)
        return self._remember(place, Record(key, *rows[0]) if rows else None)

    def put(self, table: str, key: str, value: str, expected: int | None = None) -> int:
        """Change a record and return its new revision; it is written at the commit. See the port for `expected`.

        Raises:
            RevisionMismatch: `expected` is not the present revision; nothing is changed.
            StoreError: an earlier write since the last commit failed, or the file could not be read.
        """
        if self._failure is not None:
            raise StoreError(self._failure)
        present = self.get(table, key)
        revision = present.revision if present is not None else 0
        if expected is not None and expected != revision:
            raise self._mismatch(table, key, expected)
        place, record = (table, key), Record(key, value, revision + 1)
        self._remember(place, record)
        self._unwritten[place] = record
        self._lists.pop(table, None)
        return record.revision

    def delete(self, table: str, key: str, expected: int | None = None) -> bool:
        """Remove a record; False when there was none.

        Raises:
            RevisionMismatch: `expected` is not the present revision; nothing is changed.
            StoreError: it could not be written; everything since the last commit is undone.
        """
        present = self.get(table, key)
        if expected is not None and (present.revision if present else 0) != expected:
            raise self._mismatch(table, key, expected)
        self._unwritten.pop((table, key), None)
        self._write(DELETE, (table, key))
        self._lists.pop(table, None)
        self._remember((table, key), None)
        return present is not None

    def list(self, table: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[Record]:
        """Read records in key order (by code point): those that start with `prefix` and come after `after`.

        Raises:
            StoreError: the file could not be read.
        """
        lists = self._lists.setdefault(table, {})
        known = lists.get((prefix, after, limit))
        if known is not None:
            return known.copy()
        self._flush()
        end = _successor(prefix)
        rows = self._query(LIST, (table, prefix, after, end, end, limit))
        records = [Record(*row) for row in rows]
        if len(lists) < MAX_LISTS and len(records) <= MAX_LISTED:
            lists[prefix, after, limit] = records.copy()
        return records

    def append(self, stream: str, header: str, body: bytes = b"") -> int:
        """Add an entry to the end of a stream and return its sequence number; it is written at the commit.

        Raises:
            StoreError: an earlier write since the last commit failed, or the stream could not be opened.
        """
        if self._failure is not None:
            raise StoreError(self._failure)
        tail = self._tails.get(stream) or self._open_stream(stream)
        sequence = tail.next
        tail.next = sequence + 1
        self._pending.append((tail.base + sequence, header, body))
        return sequence

    def read(self, stream: str, from_sequence: int = 0, limit: int = 1000) -> builtins.list[Entry]:
        """Read a stream in order from a sequence number on, committed or not.

        Raises:
            StoreError: the file could not be read.
        """
        base = self._base(stream)
        if base is None:
            return []
        self._flush()
        first, end = base + max(from_sequence, 0), base + (1 << SEQUENCE_BITS)
        return [Entry(row[0] - base, row[1], row[2]) for row in self._query(READ, (first, end, limit))]

    def trim(self, stream: str, before: int) -> None:
        """Drop the entries below a sequence number; the last stays, so that numbers go on where they are.

        Raises:
            StoreError: an earlier write since the last commit failed, or the file could not be written.
        """
        base = self._base(stream)
        if base is None:
            return
        tail = self._tails.get(stream) or self._open_stream(stream)
        self._flush()
        self._write(TRIM, (base, base + min(before, tail.next - 1)))

    def streams(self, prefix: str = "") -> Iterator[str]:
        """Name the streams that have entries, in order.

        Raises:
            StoreError: the file could not be read.
        """
        end = _successor(prefix)
        rows = self._query(
            "SELECT name FROM streams WHERE name >= ? AND (? IS NULL OR name < ?) ORDER BY name", (prefix, end, end)
        )
        return iter([row[0] for row in rows])

    def commit(self) -> None:
        """Make everything written since the last commit durable; costs nothing when there is nothing.

        Raises:
            StoreError: it could not, or an earlier write had failed; everything since the last commit is undone.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise StoreError(failure)
        if not (self._unwritten or self._pending or self._database.in_transaction):
            return
        try:
            self._flush()
            self._database.execute("COMMIT")
        except (sqlite3.Error, StoreError) as error:
            undone = error if isinstance(error, StoreError) else self._undo(error)
            self._failure = None
            raise undone from error

    def size_bytes(self) -> int:
        """Tell how large the database is, without its write-ahead log.

        Raises:
            StoreError: the file could not be read.
        """
        (pages,), (size,) = self._query("PRAGMA page_count", ())[0], self._query("PRAGMA page_size", ())[0]
        return int(pages) * int(size)

    def close(self) -> None:
        """Give up what is not committed, close the file and let another process have it."""
        self._unwritten.clear()
        self._pending.clear()
        self._database.close()
        self._release()

    def _remember(self, place: tuple[str, str], record: Record | None) -> Record | None:
        if len(self._recent) >= MAX_RECENT:
            self._flush()  # what is forgotten here is looked for in the file
            self._recent.clear()
        self._recent[place] = record
        return record

    def _query(self, sql: str, parameters: tuple[object, ...]) -> Rows:
        try:
            return self._database.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the state {self._path} could not be read: {error}{_advice(error)}") from error

    def _write(self, sql: str, parameters: tuple[object, ...]) -> Rows:
        if self._failure is not None:
            raise StoreError(self._failure)
        try:
            self._begin()
            return self._database.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._undo(error) from error

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN IMMEDIATE")

    def _flush(self) -> None:
        if not self._unwritten and not self._pending:
            return
        records = [(*place, record.value, record.revision) for place, record in self._unwritten.items()]
        try:
            self._begin()
            self._database.executemany(PUT, records)
            self._database.executemany(APPEND, self._pending)
        except sqlite3.Error as error:
            raise self._undo(error) from error
        self._unwritten.clear()
        self._pending.clear()

    def _undo(self, error: sqlite3.Error) -> StoreError:
        """Return to the last commit; until the next `commit` has said so, nothing more can be written."""
        # SQLite itself has already rolled back after some errors (a full disk), and then there is nothing to undo.
        with contextlib.suppress(sqlite3.Error):
            self._database.rollback()
        self._unwritten.clear()
        self._pending.clear()
        self._tails.clear()
        self._recent.clear()
        self._lists.clear()
        undone = "everything since the last commit is undone"
        self._failure = f"the state {self._path} could not be written, {undone}: {error}"
        logger.error("%s", self._failure)
        return StoreError(self._failure)

    def _mismatch(self, table: str, key: str, expected: int | None) -> RevisionMismatch:
        record = self.get(table, key)
        present = f"has revision {record.revision}" if record else "does not exist"
        return RevisionMismatch(f"{table} {key!r} {present}, revision {expected} was expected")

    def _base(self, stream: str) -> int | None:
        tail = self._tails.get(stream)
        if tail is not None:
            return tail.base
        rows = self._query("SELECT number FROM streams WHERE name = ?", (stream,))
        return int(rows[0][0]) << SEQUENCE_BITS if rows else None

    def _open_stream(self, stream: str) -> Tail:
        base = self._base(stream)
        if base is None:
            rows = self._write("INSERT INTO streams (name) VALUES (?) RETURNING number", (stream,))
            base = int(rows[0][0]) << SEQUENCE_BITS
        rows = self._query("SELECT max(id) FROM entries WHERE id >= ? AND id < ?", (base, base + (1 << SEQUENCE_BITS)))
        last = rows[0][0]
        tail = self._tails[stream] = Tail(base, 0 if last is None else last - base + 1)
        return tail

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _claim(path: Path) -> LockFile:
    """Make the directory and an empty file that only we may read (it holds keys), and take its lock."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = LockFile(path.with_name(path.name + ".lock"))
        # SQLite would open a file that it may not write, and fail at the first commit.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"the state {path} cannot be opened: {error.strerror}") from error
    return lock


def _open(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None, cached_statements=256)
    try:
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "temp_store = MEMORY",
            "cache_size = -16384",
        ):
            database.execute(f"PRAGMA {pragma}")
        _require_schema(database, path)
    except sqlite3.Error as error:
        database.close()
        raise StoreError(f"the state {path} cannot be opened: {error}{_advice(error)}") from error
    except StoreError:
        database.close()
        raise
    return database


def _advice(error: sqlite3.Error) -> str:
    return DAMAGED_ADVICE if getattr(error, "sqlite_errorcode", None) in DAMAGED else ""


def _require_schema(database: sqlite3.Connection, path: str) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version != 0 or tables:
        raise StoreError(
            f"the state {path} has schema version {version}, this hublet knows {SCHEMA_VERSION}: "
            "use the hublet that wrote it, or another --state-dir"
        )
    database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _successor(prefix: str) -> str | None:
    """Return the least text above all texts that start with `prefix`, or None when there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    # Surrogates are no characters: SQLite's text order has nothing between U+D7FF and U+E000.
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
