"""The stored operations of one DPS: kept until they expire, and those still to be done found by their age."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from adr.parsed import RecentlyParsed
from adr.store import Record, Store
from dps.operation import Operation, first_operation_id, format_operation, parse_operation
from dps.timestamp import format_timestamp, parse_timestamp

PRUNED_AT_ONCE = 1000
# With 5 KB each; most are asked for once, soon after they began.
MAX_PARSED = 256


class Operations:
    """The operations of one DPS, in the order of their age."""

    def __init__(self, store: Store, id_scope: str) -> None:
        self._store = store
        self._table = f"dps.{id_scope}.operations"
        self._pending = f"dps.{id_scope}.pendingOperations"
        self._parsed = RecentlyParsed(lambda record: parse_operation(record.key, record.value), MAX_PARSED)

    def put(self, operation: Operation) -> None:
        """Write an operation; one with something left to do is found by `due` from then on."""
        operation_id, text = operation.operation_id, format_operation(operation)
        self._parsed.know(Record(operation_id, text, self._store.put(self._table, operation_id, text)), operation)
        if operation.pending:
            self._store.put(
                self._pending, operation.operation_id, json.dumps(format_timestamp(operation.pending.due_at))
            )

    def finish(self, operation: Operation) -> None:
        """Write an operation that was pending and no longer is."""
        self.put(operation)
        self._store.delete(self._pending, operation.operation_id)

    def get(self, operation_id: str) -> Operation | None:
        """Read an operation; None when there is none, or no longer."""
        record = self._store.get(self._table, operation_id)
        return None if record is None else self._parsed.of(record)

    def due(self, now: datetime) -> Iterator[Operation]:
        """Read the pending operations whose time has come, oldest first."""
        after = ""
        while records := self._store.list(self._pending, after=after):
            for record in records:
                if parse_timestamp(json.loads(record.value)) > now:
                    return
                operation = self.get(record.key)
                assert operation is not None, f"operation {record.key} is pending, so it was not pruned"
                yield operation
            after = records[-1].key

    def prune(self, now: datetime, lifetime: timedelta) -> int:
        """Forget finished operations older than `lifetime`, at most 1,000 in one call; return how many."""
        oldest_kept = first_operation_id(now - lifetime)
        oldest = self._store.list(self._table, limit=1)
        if not oldest or oldest[0].key >= oldest_kept:
            return 0
        records = self._store.list(self._table, limit=PRUNED_AT_ONCE)
        expired = [record.key for record in records if record.key < oldest_kept and not self._is_pending(record.key)]
        for operation_id in expired:
            self._store.delete(self._table, operation_id)
        return len(expired)

    def _is_pending(self, operation_id: str) -> bool:
        return self._store.get(self._pending, operation_id) is not None
