"""The audit trail: what happened to credentials, as events in two streams of bounded length.

Refusals have a stream of their own, so that hostile clients can neither fill the disk nor push out what was issued.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate
from typing import Final

from adr.store import Entry, Store


class AuditKind(StrEnum):
    """What happened."""

    ISSUED = "issued"  # an operational certificate, at DPS
    RENEWED = "renewed"  # an operational certificate, at the hub
    REFUSED = "refused"  # a CONNECT, a registration or a certificate request
    EXPIRED = "expired"  # a connection was ended because its credential had
    REVOKED = "revoked"  # a device's certificates, or an issuing CA with all of its leaves
    ROTATED = "rotated"  # a policy's issuing CA, before it expired; also the emulator's own certificates
    REPORTED = "reported"  # something an operator should know: a root near its end
    CLOCK = "clock"  # the emulator's time was changed
    FAULT = "fault"  # a fault was injected


LIFECYCLE: Final = "audit/lifecycle"
REFUSALS: Final = "audit/refusals"
STREAMS: Final = (LIFECYCLE, REFUSALS)
# Kinds that a client can cause as often as it likes.
UNTRUSTED: Final = frozenset({AuditKind.REFUSED, AuditKind.FAULT})

# About 300 bytes an event, 60 MB for each stream; about 2 KB, whatever hostile clients write. Source: assumed.
MAX_EVENTS: Final = 200_000
# The oldest are dropped this many at a time.
TRIM_EVENTS: Final = 1_000
MAX_REASON_BYTES: Final = 500
MAX_NAME_BYTES: Final = 128

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One fact.

    `service` is the hub, the DPS or the namespace it happened at; `serial_number` is lower-case hex, empty when no
    certificate is concerned; `source` is the peer's address, where a connection is concerned.
    """

    time: datetime
    kind: AuditKind
    service: str = ""
    device_id: str = ""
    serial_number: str = ""
    reason: str = ""
    source: str = ""


class AuditTrail:
    """Writes and reads the audit trail; an event is durable at the next commit of the store.

    `recorded` counts the events of each kind since the process began, for metrics.

    Args:
        store: where the streams are.
        max_events: how many events a stream keeps; the oldest go first.
    """

    def __init__(self, store: Store, *, max_events: int = MAX_EVENTS) -> None:
        self._store = store
        self._max_events = max_events
        self.recorded = dict.fromkeys(AuditKind, 0)

    def record(
        self,
        kind: AuditKind,
        now: datetime,
        *,
        service: str = "",
        device_id: str = "",
        serial_number: str = "",
        reason: str = "",
        source: str = "",
    ) -> None:
        """Append an event; names and reasons of any length are cut, sooner where characters have to be escaped.

        Raises:
            StoreError: the store cannot be written.
        """
        stream = REFUSALS if kind in UNTRUSTED else LIFECYCLE
        names = [_cut(name, MAX_NAME_BYTES) for name in (service, device_id, serial_number)]
        fields = (now.isoformat(), kind.value, *names, _cut(reason, MAX_REASON_BYTES), _cut(source, MAX_NAME_BYTES))
        sequence = self._store.append(stream, _encode(fields))
        self.recorded[kind] += 1
        if sequence >= self._max_events and sequence % TRIM_EVENTS == 0:
            self._store.trim(stream, sequence - self._max_events)

    def read(self, stream: str, from_sequence: int = 0, limit: int = 1000) -> list[tuple[int, AuditEvent]]:
        """Read one of `STREAMS` in order from a sequence number on; what was dropped is skipped."""
        return [(entry.sequence, _parse(entry)) for entry in self._store.read(stream, from_sequence, limit)]


def _cut(text: str, size: int) -> str:
    """Cut a text so that it takes at most `size` bytes as JSON, or twice that where it is all quotes."""
    text = text[:size]
    if text.isascii() and text.isprintable():
        return text
    ends = accumulate(len(_encode(each)) - 2 for each in text)
    return text[: sum(end <= size for end in ends)]


def _parse(entry: Entry) -> AuditEvent:
    time, kind, service, device_id, serial_number, reason, source = json.loads(entry.header)
    return AuditEvent(datetime.fromisoformat(time), AuditKind(kind), service, device_id, serial_number, reason, source)
