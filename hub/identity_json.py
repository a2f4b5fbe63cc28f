"""Identities as JSON: the form in the store and the form of the service REST API."""

import json
from datetime import UTC, datetime
from typing import Any

from adr.store import Record
from hub.identity import (
    NEVER,
    Authentication,
    AuthenticationType,
    DeviceIdentity,
    DeviceStatus,
    ModuleIdentity,
    format_etag,
)

_AUTHENTICATION_FIELDS = ("primary_key", "secondary_key", "primary_thumbprint", "secondary_thumbprint")


def format_device_record(identity: DeviceIdentity) -> str:
    """Write a device for the store; its ID and ETag are the record's key and revision."""
    fields: dict[str, Any] = {
        "generationId": identity.generation_id,
        "authentication": _format_authentication_record(identity.authentication),
        "created": identity.created.isoformat(),
    }
    if not identity.enabled:
        fields["status"] = identity.status
    if identity.status_reason is not None:
        fields["statusReason"] = identity.status_reason
    if identity.status_updated != NEVER:
        fields["statusUpdated"] = identity.status_updated.isoformat()
    return json.dumps(fields, separators=(",", ":"))


def parse_device_record(record: Record) -> DeviceIdentity:
    """Read a device from its record."""
    fields = json.loads(record.value)
    status_updated = fields.get("statusUpdated")
    return DeviceIdentity(
        device_id=record.key,
        generation_id=fields["generationId"],
        etag=format_etag(fields["generationId"], record.revision),
        authentication=_parse_authentication_record(fields["authentication"]),
        created=datetime.fromisoformat(fields["created"]),
        status=DeviceStatus(fields.get("status", DeviceStatus.ENABLED)),
        status_reason=fields.get("statusReason"),
        status_updated=datetime.fromisoformat(status_updated) if status_updated else NEVER,
    )


def format_module_record(module: ModuleIdentity) -> str:
    """Write a module for the store; its IDs are the record's key."""
    fields = {
        "generationId": module.generation_id,
        "authentication": _format_authentication_record(module.authentication),
        "created": module.created.isoformat(),
        "managedBy": module.managed_by,
    }
    return json.dumps(fields, separators=(",", ":"))


def parse_module_record(record: Record) -> ModuleIdentity:
    """Read a module from its record."""
    fields = json.loads(record.value)
    device_id, _, module_id = record.key.partition("/")
    return ModuleIdentity(
        device_id=device_id,
        module_id=module_id,
        generation_id=fields["generationId"],
        etag=format_etag(fields["generationId"], record.revision),
        authentication=_parse_authentication_record(fields["authentication"]),
        created=datetime.fromisoformat(fields["created"]),
        managed_by=fields["managedBy"],
    )


def format_identity(identity: DeviceIdentity) -> dict[str, Any]:
    """Write a device as the service REST API shows it, keys included.

    What the registry does not know (connection state, activity, queue length) has its value of a device that
    never connected; the REST front puts the present values over it.

    Source: live probes of GET /devices/{id} (observed).
    """
    return {
        "deviceId": identity.device_id,
        "generationId": identity.generation_id,
        "etag": identity.etag,
        "connectionState": "Disconnected",
        "status": identity.status.value,
        "statusReason": identity.status_reason,
        "connectionStateUpdatedTime": format_time(NEVER),
        "statusUpdatedTime": format_time(identity.status_updated),
        "lastActivityTime": format_time(NEVER),
        "cloudToDeviceMessageCount": 0,
        "authentication": format_authentication(identity.authentication),
        "capabilities": {"iotEdge": False},
    }


def format_authentication(authentication: Authentication) -> dict[str, Any]:
    """Write an authentication as the service REST API shows it, keys included."""
    return {
        "type": authentication.type.value,
        "symmetricKey": {
            "primaryKey": authentication.primary_key,
            "secondaryKey": authentication.secondary_key,
        },
        "x509Thumbprint": {
            "primaryThumbprint": authentication.primary_thumbprint,
            "secondaryThumbprint": authentication.secondary_thumbprint,
        },
    }


def format_time(moment: datetime) -> str:
    """Write a moment as the service REST API does: `0001-01-01T00:00:00Z` for never, else seven fraction digits."""
    if moment == NEVER:
        return "0001-01-01T00:00:00Z"
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0Z"


def _format_authentication_record(authentication: Authentication) -> dict[str, str]:
    present = {name: getattr(authentication, name) for name in _AUTHENTICATION_FIELDS}
    return {"type": authentication.type, **{name: value for name, value in present.items() if value is not None}}


def _parse_authentication_record(fields: dict[str, str]) -> Authentication:
    kind = AuthenticationType(fields["type"])
    return Authentication(kind, **{name: fields[name] for name in _AUTHENTICATION_FIELDS if name in fields})
