"""The store port: the few verbs all durable state goes through.

Declared here because this is the lowest room with state; `hub` and `dps` use it from here, and the backends
(SQLite, later a distributed one) stand in `emulator`. Values are JSON objects as text. Nothing is durable before
`commit`, and nothing that was acknowledged to a client may rest on something uncommitted.
"""

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """The backend could not read or keep something (disk full, read-only, corrupt)."""


class RevisionMismatch(StoreError):
    """A put or delete named a revision that is not the present one."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored value; `revision` starts at 1 and rises by one with each put."""

    key: str
    value: str
    revision: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of a stream; `sequence` starts at 0 in each stream and rises by one."""

    sequence: int
    header: str
    body: bytes


class Store(Protocol):
    """Key-value tables with revisions, and append-only streams.

    `table` and `stream` are short names such as `dps.enrollments` or `hub1/events/0`; keys are any text.
    """

    def get(self, table: str, key: str) -> Record | None:
        """Read one record."""
        ...

    def put(self, table: str, key: str, value: str, expected: int | None = None) -> int:
        """Write a record and return its new revision.

        Args:
            table: the table's name.
            key: the record's key.
            value: a JSON text.
            expected: None writes whatever is there; 0 only if nothing is; n only over revision n.

        Raises:
            RevisionMismatch: `expected` is not the present revision.
        """
        ...

    def delete(self, table: str, key: str, expected: int | None = None) -> bool:
        """Remove a record; False when there was none.

        Raises:
            RevisionMismatch: `expected` is not the present revision.
        """
        ...

    def list(self, table: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[Record]:
        """Read records in key order: those that start with `prefix` and come after the key `after`."""
        ...

    def append(self, stream: str, header: str, body: bytes = b"") -> int:
        """Add an entry to the end of a stream and return its sequence number."""
        ...

    def read(self, stream: str, from_sequence: int = 0, limit: int = 1000) -> builtins.list[Entry]:
        """Read a stream in order from a sequence number on, committed or not."""
        ...

    def trim(self, stream: str, before: int) -> None:
        """Drop the entries of a stream whose sequence number is below `before`; the last entry always stays."""
        ...

    def streams(self, prefix: str = "") -> Iterator[str]:
        """Name the streams that have entries."""
        ...

    def commit(self) -> None:
        """Make everything written since the last commit durable.

        Raises:
            StoreError: it could not; everything since the last commit is undone.
        """
        ...


def each_record(store: Store, table: str, prefix: str = "") -> Iterator[Record]:
    """Go through all records of a table that start with `prefix`, in key order, a page at a time."""
    page_size = 1000
    page = store.list(table, prefix, "", page_size)
    while page:
        yield from page
        page = store.list(table, prefix, page[-1].key, page_size) if len(page) == page_size else []
