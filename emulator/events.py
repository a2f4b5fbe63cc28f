"""Reads the hubs' event logs for people and scripts: what `hublet events` and `GET /events` show."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hub.event_log import Event
from hub.hub import Hub

PAGE = 500


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events in the order they were enqueued, and where each partition (`hub/partition`) goes on."""

    events: tuple[dict[str, Any], ...]
    positions: Mapping[str, int]


def read_events(hubs: Iterable[Hub], positions: Mapping[str, int], device_id: str | None = None) -> EventPage:
    """Read up to `PAGE` events of each partition from the given positions on; a partition not named starts at 0."""
    found: list[tuple[Event, str]] = []
    following: dict[str, int] = {}
    for hub in hubs:
        for partition in range(hub.event_log.partition_count):
            name = f"{hub.settings.name}/{partition}"
            events = hub.event_log.read(partition, positions.get(name, 0), PAGE)
            following[name] = events[-1].sequence_number + 1 if events else positions.get(name, 0)
            found += [(event, hub.settings.name) for event in events if device_id in (None, event.device_id)]
    found.sort(key=lambda each: each[0].enqueued_time)
    return EventPage(tuple(describe_event(event, hub) for event, hub in found), following)


def describe_event(event: Event, hub: str) -> dict[str, Any]:
    """Write an event as JSON: the body as JSON or text where it is one, else as base64."""
    return {
        "hub": hub,
        "partition": event.partition,
        "sequenceNumber": event.sequence_number,
        "offset": event.offset,
        "enqueuedTime": event.enqueued_time.isoformat().replace("+00:00", "Z"),
        "deviceId": event.device_id,
        "systemProperties": dict(event.system_properties),
        "properties": dict(event.properties),
        **_describe_body(event.body),
    }


def _describe_body(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}
    try:
        return {"body": json.loads(text, parse_constant=_refuse_constant)}
    except (ValueError, RecursionError):  # a device may send anything: brackets in thousands, NaN
        return {"body": text}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
