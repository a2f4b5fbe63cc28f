"""Remembering what stored records were parsed into."""

from collections.abc import Callable
from typing import Generic, TypeVar

from adr.store import Record

T = TypeVar("T")


class Parsed(Generic[T]):
    """What each record was last parsed into; right after a rollback too, as it goes by the text.

    A revision would not do: after a rollback, or after delete and put, another text can have the same revision.
    Nothing is ever dropped: for the few records of a table that every request reads.
    """

    def __init__(self, parse: Callable[[str, str], T]) -> None:
        self._parse = parse
        self._known: dict[str, tuple[str, T]] = {}

    def of(self, record: Record) -> T:
        """Return the record's parsed value, the same object as long as the text is the same."""
        known = self._known.get(record.key)
        if known is not None and known[0] == record.value:
            return known[1]
        value = self._parse(record.key, record.value)
        self._known[record.key] = (record.value, value)
        return value


class RecentlyParsed(Generic[T]):
    """What the latest records were parsed into, or formatted from: for tables with a record for each device.

    At most `most` are held; then all are dropped. Right after a rollback too, as it goes by the whole record: a commit
    that failed may give a revision to another text.
    """

    def __init__(self, parse: Callable[[Record], T], most: int) -> None:
        self._parse = parse
        self._most = most
        self._known: dict[str, tuple[Record, T]] = {}

    def of(self, record: Record) -> T:
        """Return the record's parsed value, the same object as long as the record is the same."""
        known = self._known.get(record.key)
        if known is not None and known[0] == record:
            return known[1]
        value = self._parse(record)
        self.know(record, value)
        return value

    def know(self, record: Record, value: T) -> None:
        """Take note of what a record that was just written would be parsed into."""
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[record.key] = (record, value)

    def __len__(self) -> int:
        """Tell how many are held."""
        return len(self._known)
