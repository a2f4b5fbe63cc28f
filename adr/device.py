"""Device records: which policy issues for a device, and the identifier that ties its certificates to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

# Why the identities of a disabled device are disabled in its hubs. Source: the text is assumed.
DISABLED_REASON = "disabled in the device registry"


@dataclass(frozen=True, slots=True)
class AdrDevice:
    """A device of a namespace. Its ID is case-sensitive, as at the hub.

    Every certificate issued for it carries `identifier`; revocation replaces the identifier, and with it all of
    them become worthless. `policy` is None when the enrollment named none.
    `details` are what the management API was told about it (manufacturer, model, attributes…) and nobody here reads.

    Source: concepts-certificate-policy-management.md §revoke; where Azure puts the identifier is not public (assumed).
    """

    device_id: str
    identifier: UUID
    policy: str | None
    enabled: bool
    created: datetime
    details: Mapping[str, Any] = field(default_factory=dict)


def format_device(device: AdrDevice) -> str:
    """Write a device record as the JSON text that is stored under `device_key`."""
    return json.dumps(
        {
            "deviceId": device.device_id,
            "identifier": str(device.identifier),
            "policy": device.policy,
            "enabled": device.enabled,
            "created": device.created.isoformat(),
            **({"details": dict(device.details)} if device.details else {}),
        }
    )


def parse_device(text: str) -> AdrDevice:
    """Read a stored device record."""
    fields = json.loads(text)
    return AdrDevice(
        device_id=fields["deviceId"],
        identifier=UUID(fields["identifier"]),
        policy=fields["policy"],
        enabled=fields["enabled"],
        created=datetime.fromisoformat(fields["created"]),
        details=fields.get("details", {}),
    )


def device_key(namespace: str, device_id: str) -> str:
    """Return the key a device is stored under; a namespace's name has no slash."""
    return f"{namespace}/{device_id}"
