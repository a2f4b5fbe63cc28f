"""Long-running operations: each is done at once, and can be asked for a day long."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from adr.store import Store, each_record

OPERATIONS = "arm.operations"
KEPT = timedelta(days=1)
# What a client waits before it asks. Source: assumed.
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class LongRunningOperation:
    """An operation that has succeeded: one that fails is refused before it begins."""

    operation_id: str
    resource_id: str
    started: datetime


class LongRunningOperations:
    """The operations of the last day, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, resource_id: str, now: datetime) -> LongRunningOperation:
        """Note an operation on a resource, and forget those older than a day."""
        for record in list(each_record(self._store, OPERATIONS)):
            if abs(now - _parse(record.key, record.value).started) > KEPT:
                self._store.delete(OPERATIONS, record.key)
        operation = LongRunningOperation(str(uuid4()), resource_id, now)
        text = json.dumps({"resource": resource_id, "started": now.isoformat()})
        self._store.put(OPERATIONS, operation.operation_id, text)
        return operation

    def get(self, operation_id: str) -> LongRunningOperation | None:
        """Return an operation, None for one that is not known (any more)."""
        record = self._store.get(OPERATIONS, operation_id)
        return None if record is None else _parse(record.key, record.value)


def describe_operation(operation: LongRunningOperation, path: str) -> dict[str, Any]:
    """Write an operation as its status resource.

    Source: azure-mgmt-deviceregistry OperationStatusResult (sdk).
    """
    started = operation.started.isoformat().replace("+00:00", "Z")
    return {
        "id": path,
        "name": operation.operation_id,
        "resourceId": operation.resource_id,
        "status": "Succeeded",
        "percentComplete": 100,
        "startTime": started,
        "endTime": started,
    }


def _parse(key: str, text: str) -> LongRunningOperation:
    fields = json.loads(text)
    return LongRunningOperation(key, fields["resource"], datetime.fromisoformat(fields["started"]))
