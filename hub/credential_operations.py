"""The store of certificate requests: one per device, and an index of them by deadline."""

from collections.abc import Iterator
from datetime import UTC, datetime

from adr.store import Store
from hub.credential_operation import Operation, deadline_key, format_operation, parse_operation


class CredentialOperations:
    """Certificate requests by device."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.credentials"
        self._deadlines = f"{hub_name}.credential-deadlines"

    def get(self, device_id: str) -> Operation | None:
        """Read the operation of a device, None when it has none."""
        record = self._store.get(self._table, device_id)
        return parse_operation(record) if record else None

    def put(self, operation: Operation, over: Operation | None) -> None:
        """Write an operation in place of the one there was."""
        if over is not None:
            self._store.delete(self._deadlines, deadline_key(over))
        self._store.put(self._table, operation.device_id, format_operation(operation))
        self._store.put(self._deadlines, deadline_key(operation), "{}")

    def delete(self, operation: Operation) -> None:
        """Forget an operation."""
        self._store.delete(self._deadlines, deadline_key(operation))
        self._store.delete(self._table, operation.device_id)

    def due(self, now: datetime, limit: int) -> Iterator[Operation]:
        """Yield operations whose deadline has come, the oldest first, at most `limit`.

        An index entry whose device was deleted with its operation is dropped.
        """
        until = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0"
        for entry in self._store.list(self._deadlines, limit=limit):
            if entry.key > until:
                return
            operation = self.get(entry.key.partition("/")[2])
            if operation is not None and deadline_key(operation) == entry.key:
                yield operation
            else:
                self._store.delete(self._deadlines, entry.key)
