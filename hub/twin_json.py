"""Twins as JSON: in the store, for the device, for services, and as services send them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hub.errors import ArgumentInvalid
from hub.twin import Properties, Twin, TwinChange


def format_twin_record(twin: Twin) -> str:
    """Write a twin for the store."""
    fields = {
        "tags": twin.tags,
        "desired": [twin.desired.version, twin.desired.values, twin.desired.metadata],
        "reported": [twin.reported.version, twin.reported.values, twin.reported.metadata],
        "revision": twin.revision,
        "modelId": twin.model_id,
    }
    return json.dumps(fields, separators=(",", ":"))


def parse_twin_record(text: str) -> Twin:
    """Read a twin from the store."""
    fields = json.loads(text)
    return Twin(
        tags=fields["tags"],
        desired=_parse_properties(fields["desired"]),
        reported=_parse_properties(fields["reported"]),
        revision=fields["revision"],
        model_id=fields["modelId"],
    )


def format_device_view(twin: Twin) -> bytes:
    """Write what a device gets: both kinds of properties with their versions, no tags and no metadata.

    Source: iot-mqtt-connect-to-iot-hub.md (documented).
    """
    view = {
        "desired": {**twin.desired.values, "$version": twin.desired.version},
        "reported": {**twin.reported.values, "$version": twin.reported.version},
    }
    return json.dumps(view, separators=(",", ":")).encode()


def format_desired_change(change: TwinChange, twin: Twin) -> bytes:
    """Write what a connected device is told: the patch as it was sent, nulls included; all of a replacement.

    Source: iot-mqtt-connect-to-iot-hub.md (documented); the form of a replacement is assumed.
    """
    shown = twin.desired.values if change.is_replacement else (change.desired or {})
    members = {name: value for name, value in shown.items() if not name.startswith("$")}
    return json.dumps({**members, "$version": twin.desired.version}, separators=(",", ":")).encode()


def format_service_view(twin: Twin) -> dict[str, Any]:
    """Write the twin's own members as services see them; the identity's members go beside them.

    Source: iot-hub-devguide-device-twins.md (documented).
    """
    view = {
        "etag": twin.etag,
        "version": twin.version,
        "tags": dict(twin.tags),
        "properties": {
            "desired": _format_properties(twin.desired),
            "reported": _format_properties(twin.reported),
        },
    }
    return view if twin.model_id is None else {**view, "modelId": twin.model_id}


def parse_twin_change(document: Mapping[str, Any], *, is_replacement: bool) -> TwinChange:
    """Read `{"tags"?, "properties"?: {"desired"?}}`; everything else a twin has is ignored, `null` is absent.

    Raises:
        ArgumentInvalid: a section is no object.

    Source: service SDKs send back the twin they got (sdk).
    """
    tags, properties = document.get("tags"), document.get("properties")
    if properties is not None and not isinstance(properties, Mapping):
        raise ArgumentInvalid("properties must be a JSON object")
    desired = properties.get("desired") if properties else None
    for name, section in (("tags", tags), ("properties.desired", desired)):
        if section is not None and not isinstance(section, Mapping):
            raise ArgumentInvalid(f"{name} must be a JSON object, not {type(section).__name__}")
    return TwinChange(tags, desired, is_replacement)


def parse_initial_twin(document: Mapping[str, Any], now: datetime) -> Twin:
    """Make the twin that a device starts with, of `{"tags"?, "properties"?: {"desired"?}}`.

    Raises:
        ArgumentInvalid: a rule about keys, values or sizes is broken.
    """
    return Twin().changed(parse_twin_change(document, is_replacement=False), now)


def _parse_properties(fields: list[Any]) -> Properties:
    return Properties(version=fields[0], values=fields[1], metadata=fields[2])


def _format_properties(properties: Properties) -> dict[str, Any]:
    return {**properties.values, "$metadata": properties.metadata, "$version": properties.version}
