"""Reads the audit trail for people and scripts: what `hublet audit` and `GET /audit` show."""

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from adr.audit import STREAMS, AuditEvent, AuditKind, AuditTrail

PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some events in the order of their time, and where each stream goes on."""

    events: tuple[dict[str, Any], ...]
    positions: Mapping[str, int]


def read_audit(
    trail: AuditTrail,
    positions: Mapping[str, int],
    device_id: str | None = None,
    kinds: Collection[AuditKind] = (),
) -> AuditPage:
    """Read up to `PAGE` events of each stream from the given positions on; a stream not named starts at 0.

    Args:
        trail: the trail.
        positions: where to begin, by stream.
        device_id: only this device's events.
        kinds: only events of these kinds; none means all.
    """
    found: list[list[tuple[str, int, AuditEvent]]] = []
    following: dict[str, int] = {}
    for stream in STREAMS:
        start = positions.get(stream, 0)
        entries = trail.read(stream, start, PAGE)
        following[stream] = entries[-1][0] + 1 if entries else start
        found.append([(stream, number, event) for number, event in entries if _is_wanted(event, device_id, kinds)])
    # Each stream stays in its own order, also where the clock was set back.
    merged = heapq.merge(*found, key=lambda each: each[2].time)
    return AuditPage(tuple(describe_audit_event(*each) for each in merged), following)


def describe_audit_event(stream: str, sequence: int, event: AuditEvent) -> dict[str, Any]:
    """Write an event as JSON; `id` is unique, members without a value are left out."""
    members = {
        "id": f"{stream.removeprefix('audit/')}/{sequence}",
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "kind": event.kind.value,
        "service": event.service,
        "deviceId": event.device_id,
        "serialNumber": event.serial_number,
        "reason": event.reason,
        "source": event.source,
    }
    return {name: value for name, value in members.items() if value}


def _is_wanted(event: AuditEvent, device_id: str | None, kinds: Collection[AuditKind]) -> bool:
    return device_id in (None, event.device_id) and (not kinds or event.kind in kinds)
