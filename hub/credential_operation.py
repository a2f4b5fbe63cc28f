"""The life of one certificate request: a state machine, written as a table.

Rules for editing: every allowed transition is a row of `TRANSITIONS`, and everything that is not there is
refused. A device has at most one operation; `ABSENT` is a device without one.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from adr.store import Record


class OperationState(Enum):
    """Where a device's certificate request stands."""

    ABSENT = "absent"
    PENDING = "pending"  # answered with 202, not yet issued
    COMPLETED = "completed"  # issued or failed; the result is kept until the device has it


class OperationEvent(Enum):
    """What can happen to it."""

    REQUEST = "request"  # a request without `replace`
    REPLACE = "replace"  # a request whose `replace` is `*` or names the pending request
    COMPLETE = "complete"  # the CA has issued or refused
    DELIVER = "deliver"  # the device has acknowledged the result
    EXPIRE = "expire"  # `operationExpires` has come


# Source: csr-scenarions.md, scenarios 015–025 (observed). That a request supersedes a result which the device has not
# acknowledged yet is assumed: a client may send its next request before the PUBACK of the last result.
TRANSITIONS: Final[Mapping[tuple[OperationState, OperationEvent], OperationState]] = {
    (OperationState.ABSENT, OperationEvent.REQUEST): OperationState.PENDING,
    (OperationState.ABSENT, OperationEvent.REPLACE): OperationState.PENDING,
    (OperationState.PENDING, OperationEvent.REPLACE): OperationState.PENDING,
    (OperationState.PENDING, OperationEvent.COMPLETE): OperationState.COMPLETED,
    (OperationState.PENDING, OperationEvent.EXPIRE): OperationState.ABSENT,
    (OperationState.COMPLETED, OperationEvent.REQUEST): OperationState.PENDING,
    (OperationState.COMPLETED, OperationEvent.REPLACE): OperationState.PENDING,
    (OperationState.COMPLETED, OperationEvent.DELIVER): OperationState.ABSENT,
    (OperationState.COMPLETED, OperationEvent.EXPIRE): OperationState.ABSENT,
}


@dataclass(frozen=True, slots=True)
class Result:
    """The second answer: its status (200 or an error) and body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One certificate request of a device; `csr` is DER, `result` is there once it is completed."""

    device_id: str
    request_id: str
    correlation_id: str
    expires_at: datetime
    due_at: datetime
    csr: bytes
    result: Result | None = None

    @property
    def state(self) -> OperationState:
        """PENDING until there is a result."""
        return OperationState.PENDING if self.result is None else OperationState.COMPLETED

    @property
    def deadline(self) -> datetime:
        """When the next thing happens by itself: issuing while pending, then expiry."""
        return min(self.due_at, self.expires_at) if self.result is None else self.expires_at


def next_state(operation: Operation | None, event: OperationEvent) -> OperationState | None:
    """Look up where an event leads; None when it is not allowed in the present state."""
    state = operation.state if operation is not None else OperationState.ABSENT
    return TRANSITIONS.get((state, event))


def format_operation(operation: Operation) -> str:
    """Write an operation for the store; the device ID is the record's key."""
    result = operation.result
    fields = {
        "requestId": operation.request_id,
        "correlationId": operation.correlation_id,
        "expiresAt": operation.expires_at.isoformat(),
        "dueAt": operation.due_at.isoformat(),
        "csr": base64.b64encode(operation.csr).decode(),
        "result": [result.status, result.body.decode()] if result is not None else None,
    }
    return json.dumps(fields)


def parse_operation(record: Record) -> Operation:
    """Read an operation from its record."""
    fields = json.loads(record.value)
    result = fields["result"]
    return Operation(
        device_id=record.key,
        request_id=fields["requestId"],
        correlation_id=fields["correlationId"],
        expires_at=datetime.fromisoformat(fields["expiresAt"]),
        due_at=datetime.fromisoformat(fields["dueAt"]),
        csr=base64.b64decode(fields["csr"]),
        result=Result(result[0], result[1].encode()) if result is not None else None,
    )


def deadline_key(operation: Operation) -> str:
    """Write the key that sorts operations by deadline: the moment in UTC, then the device."""
    return f"{operation.deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}/{operation.device_id}"
