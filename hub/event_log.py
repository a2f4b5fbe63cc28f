"""The event log of one hub: what its built-in, Event Hubs-compatible endpoint will serve, in partitions."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adr.store import Entry, Store

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class EventSource:
    """What all events of one connection share: their stream, and the beginning of their header as JSON text."""

    stream: str
    header: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a consumer sees it; sequence numbers start at 0 in each partition."""

    partition: int
    sequence_number: int
    enqueued_time: datetime
    system_properties: Mapping[str, str]
    properties: Mapping[str, str | None]
    body: bytes

    @property
    def offset(self) -> str:
        """The position in the partition, opaque to consumers; here the sequence number (assumed)."""
        return str(self.sequence_number)

    @property
    def device_id(self) -> str:
        """The device the hub authenticated when it took the event."""
        return self.system_properties["iothub-connection-device-id"]

    @property
    def module_id(self) -> str | None:
        """The module the hub authenticated, None for the device itself."""
        return self.system_properties.get("iothub-connection-module-id")


class EventLog:
    """Append-only partitions in the store; all events of a device are in one partition, in their order."""

    def __init__(self, store: Store, hub_name: str, partition_count: int) -> None:
        self._store = store
        self._hub_name = hub_name
        self.partition_count = partition_count

    def partition_of(self, device_id: str) -> int:
        """Tell the partition of a device.

        Source: iot-hub-devguide-messages-construct.md (documented); CRC-32 as the hash is assumed.
        """
        return zlib.crc32(device_id.encode()) % self.partition_count

    def source(self, device_id: str, system_properties: Mapping[str, str]) -> EventSource:
        """Prepare what the events of one connection share."""
        stream = self._stream(self.partition_of(device_id))
        system = _encode({"iothub-connection-device-id": device_id, **system_properties})
        return EventSource(stream, f'{{"connection":{system}')

    def append(
        self,
        source: EventSource,
        body: bytes,
        now: datetime,
        system: Mapping[str, str] | None = None,
        properties: Mapping[str, str | None] | None = None,
    ) -> int:
        """Append an event and return its sequence number; it is durable at the next commit."""
        message = f',"message":{_encode((system, properties))}' if system or properties else ""
        return self._store.append(source.stream, f'{source.header}{message},"enqueued":"{now.isoformat()}"}}', body)

    def read(self, partition: int, from_sequence: int = 0, limit: int = 1000) -> list[Event]:
        """Read a partition in order from a sequence number on.

        Raises:
            IndexError: there is no such partition.
        """
        if not 0 <= partition < self.partition_count:
            raise IndexError(f"partition {partition} is not one of 0–{self.partition_count - 1}")
        return [_parse(partition, entry) for entry in self._store.read(self._stream(partition), from_sequence, limit)]

    def _stream(self, partition: int) -> str:
        return f"{self._hub_name}/events/{partition}"


def _parse(partition: int, entry: Entry) -> Event:
    header: dict[str, Any] = json.loads(entry.header)
    system, properties = header.get("message", ({}, {}))
    return Event(
        partition=partition,
        sequence_number=entry.sequence,
        enqueued_time=datetime.fromisoformat(header["enqueued"]).astimezone(UTC),
        system_properties={**(system or {}), **header["connection"]},
        properties=properties or {},
        body=entry.body,
    )
