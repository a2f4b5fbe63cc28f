"""Merge patches (RFC 7396), and what they do to the metadata beside the values."""

from collections.abc import Mapping
from typing import Any

Json = Any
JsonObject = Mapping[str, Any]


def merge_patch(target: Json, patch: Json) -> Json:
    """Apply a merge patch: objects merge, `null` deletes, anything else replaces; neither argument is changed.

    Source: RFC 7396 §2; iot-hub-devguide-device-twins.md (documented).
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def merge_metadata(metadata: JsonObject, patch: JsonObject, stamp: Mapping[str, str | int]) -> dict[str, Any]:
    """Carry a patch of the values over to their metadata: every node it touches gets the stamp.

    The metadata have the shape of the values, but an array is one node. No value's name starts with `$`, so the
    stamp's names are never in the way.

    Source: iot-hub-devguide-device-twins.md (documented).
    """
    merged = {**metadata, **stamp}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = merge_metadata(merged.get(name, {}), value, stamp)
        else:
            merged[name] = dict(stamp)
    return merged
