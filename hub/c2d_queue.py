"""The cloud-to-device queues in the store: messages by device and sequence, and an index of them by deadline."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from adr.store import Store
from hub.c2d_message import C2dMessage, format_message_record, parse_message_record

# Source: iot-hub-devguide-quotas-throttling.md (documented).
MAX_PENDING: Final = 50


class C2dQueue:
    """Messages of all devices of one hub; sequence numbers of a device rise and are never used twice."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.c2d"
        self._deadlines = f"{hub_name}.c2d-deadlines"

    def next_sequence(self, device_id: str) -> int:
        """Take the next sequence number of a device."""
        record = self._store.get(self._table, device_id)
        sequence = int(json.loads(record.value)["next"]) if record else 0
        self._store.put(self._table, device_id, json.dumps({"next": sequence + 1}))
        return sequence

    def get(self, device_id: str, sequence: int) -> C2dMessage | None:
        """Read a message, None when it has left the queue."""
        key = _key(device_id, sequence)
        record = self._store.get(self._table, key)
        return parse_message_record(key, record.value) if record else None

    def list(self, device_id: str) -> list[C2dMessage]:
        """Read the messages of a device in the order they were sent."""
        records = self._store.list(self._table, f"{device_id}/", limit=MAX_PENDING)
        return [parse_message_record(record.key, record.value) for record in records]

    def count(self, device_id: str) -> int:
        """Count the messages of a device."""
        return len(self._store.list(self._table, f"{device_id}/", limit=MAX_PENDING))

    def put(self, message: C2dMessage, over: C2dMessage | None = None) -> None:
        """Write a message in place of what it was."""
        if over is not None:
            self._store.delete(self._deadlines, _deadline_key(over))
        self._store.put(self._table, _key(message.device_id, message.sequence), format_message_record(message))
        self._store.put(self._deadlines, _deadline_key(message), "{}")

    def delete(self, message: C2dMessage) -> None:
        """Take a message out."""
        self._store.delete(self._deadlines, _deadline_key(message))
        self._store.delete(self._table, _key(message.device_id, message.sequence))

    def due(self, now: datetime, limit: int) -> Iterator[C2dMessage]:
        """Yield messages whose deadline has come, the oldest first, at most `limit`.

        An index entry whose device was deleted with its messages is dropped.
        """
        until = f"{_format_moment(now)}0"
        for entry in self._store.list(self._deadlines, limit=limit):
            if entry.key > until:
                return
            _, device_id, sequence = entry.key.split("/")
            message = self.get(device_id, int(sequence))
            if message is not None and _deadline_key(message) == entry.key:
                yield message
            else:
                self._store.delete(self._deadlines, entry.key)


def _key(device_id: str, sequence: int) -> str:
    return f"{device_id}/{sequence:010d}"


def _deadline_key(message: C2dMessage) -> str:
    return f"{_format_moment(message.deadline)}/{_key(message.device_id, message.sequence)}"


def _format_moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"
