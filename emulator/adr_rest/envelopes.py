"""What every ARM resource has around its properties: ID, type, location, tags."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from adr.store import Store, each_record

ENVELOPES = "arm.envelopes"
PROVIDER = "Microsoft.DeviceRegistry"
# Where resources are that the configuration declared.
LOCATION = "local"
SUCCEEDED = "Succeeded"
ACCEPTED = "Accepted"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The location and tags that a resource was made with."""

    location: str = LOCATION
    tags: dict[str, str] = field(default_factory=dict)


class Envelopes:
    """Envelopes by the resource's path below the provider, in lower case."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, path: str) -> Envelope:
        """Return a resource's envelope, a plain one when nobody gave it any."""
        record = self._store.get(ENVELOPES, path.lower())
        if record is None:
            return Envelope()
        fields = json.loads(record.value)
        return Envelope(fields["location"], fields["tags"])

    def put(self, path: str, envelope: Envelope) -> None:
        """Keep a resource's envelope."""
        text = json.dumps({"location": envelope.location, "tags": envelope.tags})
        self._store.put(ENVELOPES, path.lower(), text)

    def delete(self, path: str) -> None:
        """Forget the envelopes of a resource and of everything below it."""
        self._store.delete(ENVELOPES, path.lower())
        for record in list(each_record(self._store, ENVELOPES, f"{path.lower()}/")):
            self._store.delete(ENVELOPES, record.key)


def describe_resource(
    scope: str, path: str, properties: dict[str, Any], envelope: Envelope, *, etag: str = ""
) -> dict[str, Any]:
    """Write a resource; `scope` is its resource group, `path` like `namespaces/ns1/devices/d1`."""
    segments = path.split("/")
    document = {
        "id": resource_id(scope, path),
        "name": segments[-1],
        "type": "/".join((PROVIDER, *segments[::2])),
        "location": envelope.location,
        "tags": envelope.tags,
        "properties": properties,
    }
    return {**document, "etag": etag} if etag else document


def resource_id(scope: str, path: str) -> str:
    """Return a resource's ID."""
    return f"{scope}/providers/{PROVIDER}/{path}"


def resource_uuid(path: str, created: str) -> str:
    """Return an ID that no other resource has, one of the same name made at another time included (assumed)."""
    return str(uuid5(NAMESPACE_URL, f"{path.lower()}@{created}"))
