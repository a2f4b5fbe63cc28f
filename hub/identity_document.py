"""Identities as services send them: the body of a PUT, and the elements of a bulk request."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from hub.errors import ArgumentInvalid
from hub.identity import Authentication, AuthenticationType, DeviceStatus

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class IdentityDocument:
    """What a service wants of a device or module; no authentication means keys that the hub makes."""

    device_id: str | None
    module_id: str | None
    etag: str | None
    authentication: Authentication | None
    status: DeviceStatus
    status_reason: str | None
    managed_by: str | None


class ImportMode(StrEnum):
    """What one element of a bulk request wants done."""

    CREATE = "create"
    UPDATE = "update"
    UPDATE_IF_MATCH_ETAG = "updateIfMatchETag"
    CREATE_OR_UPDATE = "createOrUpdate"
    DELETE = "delete"
    DELETE_IF_MATCH_ETAG = "deleteIfMatchETag"


def parse_identity_document(document: Mapping[str, Any]) -> IdentityDocument:
    """Read an identity; what only the hub sets (generation, times, connection state) is ignored.

    Raises:
        ArgumentInvalid: a member has a wrong type or value, or asks for an IoT Edge device.

    Source: azure-iot-hub models.py (sdk), live probes (observed).
    """
    capabilities = _member(document, "capabilities", Mapping)
    if capabilities and capabilities.get("iotEdge"):
        raise ArgumentInvalid("capabilities.iotEdge: IoT Edge devices are not offered")
    status = _member(document, "status", str) or DeviceStatus.ENABLED
    return IdentityDocument(
        device_id=_member(document, "deviceId", str),
        module_id=_member(document, "moduleId", str),
        etag=_member(document, "etag", str) or _member(document, "eTag", str),
        authentication=_parse_authentication(_member(document, "authentication", Mapping)),
        status=_choice(DeviceStatus, "status", status),
        status_reason=_member(document, "statusReason", str),
        managed_by=_member(document, "managedBy", str),
    )


def parse_import_mode(document: Mapping[str, Any]) -> ImportMode:
    """Read what an element of a bulk request wants done; `createOrUpdate` unless it says (assumed).

    Raises:
        ArgumentInvalid: it is none that is offered (twins are not updated in bulk).
    """
    mode = _member(document, "importMode", str)
    return ImportMode.CREATE_OR_UPDATE if mode is None else _choice(ImportMode, "importMode", mode)


def _parse_authentication(members: Mapping[str, Any] | None) -> Authentication | None:
    if not members:
        return None
    keys = _member(members, "symmetricKey", Mapping) or {}
    thumbprints = _member(members, "x509Thumbprint", Mapping) or {}
    found = {
        "primary_key": _member(keys, "primaryKey", str) or None,
        "secondary_key": _member(keys, "secondaryKey", str) or None,
        "primary_thumbprint": _thumbprint(thumbprints, "primaryThumbprint"),
        "secondary_thumbprint": _thumbprint(thumbprints, "secondaryThumbprint"),
    }
    kind = _member(members, "type", str)
    if kind is None:
        # Older API versions have no type. Source: azure-iot-hub models.py (sdk).
        kind = "selfSigned" if found["primary_thumbprint"] or found["secondary_thumbprint"] else "sas"
    return Authentication(_choice(AuthenticationType, "authentication.type", kind), **found)


def _thumbprint(members: Mapping[str, Any], name: str) -> str | None:
    return _member(members, name, str) or _member(members, name[0].upper() + name[1:], str) or None


def _member(document: Mapping[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if value is not None and not isinstance(value, kind):
        raise ArgumentInvalid(f"{name} is a JSON {type(value).__name__}, it must be of type {kind.__name__}")
    return value


def _choice(kind: type[Choice], name: str, value: str) -> Choice:
    for choice in kind:
        if choice.value.lower() == value.lower():
            return choice
    raise ArgumentInvalid(f"{name} {value[:64]!r} is none of {[choice.value for choice in kind]}")
