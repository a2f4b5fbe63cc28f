"""Devices of a namespace, with the certificates that were issued for each."""

from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from adr.device import AdrDevice
from adr.errors import DeviceNotFound
from adr.issuance import IssuedCertificate
from emulator.adr_rest.body import Body
from emulator.adr_rest.envelopes import ACCEPTED, SUCCEEDED, resource_id
from emulator.adr_rest.errors import ArmError, invalid
from emulator.adr_rest.exchange import ArmReply, ArmRequest, format_time, page, written
from hub.errors import ArgumentInvalid
from hub.identity import check_device_id

PAGE: Final = 100
TEXTS: Final = ("externalDeviceId", "manufacturer", "model", "operatingSystem", "operatingSystemVersion")
OBJECTS: Final = ("attributes", "endpoints")


def get_device(request: ArmRequest) -> ArmReply:
    """Show a device."""
    return ArmReply(document=_describe(request, _device(request)))


def list_devices(request: ArmRequest) -> ArmReply:
    """List devices in the order of their IDs, a hundred at a time."""
    request.adr.namespace(request.namespace)
    devices = request.adr.devices.page(request.namespace, request.query.get("$skipToken", ""), PAGE)
    next_link = None
    if len(devices) == PAGE:
        path = resource_id(request.scope, f"namespaces/{request.namespace}/devices")
        after = quote(devices[-1].device_id, safe="")
        next_link = f"{request.base}{path}?api-version={request.api_version}&$skipToken={after}"
    return page([_describe(request, each) for each in devices], next_link)


def put_device(request: ArmRequest) -> ArmReply:
    """Record a device, or replace what can be changed of one that is there; its identifier stays."""
    device_id, path = request.parameters["device"], _path(request)
    request.adr.namespace(request.namespace)
    try:
        check_device_id(device_id)
    except ArgumentInvalid as error:
        raise ArmError(400, "InvalidResourceName", str(error)) from error
    details, envelope = _read_details(request.body.object("properties")), request.read_envelope(path)
    policy, enabled = _read_policy(request), request.body.object("properties").flag("enabled")
    present = request.adr.device(request.namespace, device_id)
    base = present or AdrDevice(device_id, uuid4(), None, enabled=True, created=request.now)
    device = replace(base, policy=policy, enabled=enabled is not False, details=details)
    request.service.set_enabled(request.namespace, device, request.now)
    request.envelopes.put(path, envelope)
    return written(_describe(request, device, ACCEPTED), path, created=present is None)


def patch_device(request: ArmRequest) -> ArmReply:
    """Change what the body names."""
    present, path = _device(request), _path(request)
    properties, envelope = request.body.object("properties"), request.read_envelope(path)
    enabled = properties.flag("enabled")
    policy = _read_policy(request) if "policy" in properties else present.policy
    details = {**present.details, **_read_details(properties)}
    changed = replace(present, policy=policy, enabled=present.enabled if enabled is None else enabled, details=details)
    request.service.set_enabled(request.namespace, changed, request.now)
    request.envelopes.put(path, envelope)
    return ArmReply(document=_describe(request, changed), operation_on=path)


def delete_device(request: ArmRequest) -> ArmReply:
    """Delete a device; its certificates are revoked."""
    request.adr.namespace(request.namespace)
    try:
        request.service.delete_device(request.namespace, request.parameters["device"], request.now)
    except DeviceNotFound:
        return ArmReply(204)
    request.envelopes.delete(_path(request))
    return ArmReply(202, operation_on=_path(request))


def revoke_device(request: ArmRequest) -> ArmReply:
    """Revoke every certificate of a device; `disable` keeps it from coming back."""
    disable = request.body.flag("disable") or False
    device_id = _device(request).device_id
    request.service.revoke_device(request.namespace, device_id, request.now, disable=disable)
    return ArmReply(202, operation_on=_path(request))


def list_certificates(request: ArmRequest) -> ArmReply:
    """List the certificates ever issued for a device, the newest first; hublet's own."""
    notes = request.adr.issued(request.namespace, _device(request).device_id)
    notes.sort(key=lambda note: note.not_after, reverse=True)
    return page([_describe_certificate(request, note) for note in notes])


def _device(request: ArmRequest) -> AdrDevice:
    request.adr.namespace(request.namespace)
    return request.adr.devices.require(request.namespace, request.parameters["device"])


def _path(request: ArmRequest) -> str:
    return f"namespaces/{request.namespace}/devices/{request.parameters['device']}"


def _read_details(properties: Body) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for name in TEXTS:
        text = properties.text(name)
        if text is not None:
            details[name] = text
    for name in OBJECTS:
        if name in properties:
            details[name] = dict(properties.object(name).members)
    return details


def _read_policy(request: ArmRequest) -> str | None:
    """Read the policy a device names by its resource ID, and check that it is there."""
    resource = request.body.object("properties").object("policy").text("resourceId")
    if resource is None:
        return None
    name = resource.rstrip("/").rpartition("/")[2]
    if not name:
        raise invalid("properties.policy.resourceId must be the ID of a policy, ending in its name")
    return request.adr.policy(request.namespace, name).name


def _describe(request: ArmRequest, device: AdrDevice, state: str = SUCCEEDED) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "provisioningState": state,
        # A device's identifier changes with each revocation (assumed: in Azure another one may).
        "uuid": str(device.identifier),
        "enabled": device.enabled,
        "version": 1,
        "lastTransitionTime": format_time(device.created),
        **device.details,
    }
    if device.policy is not None:
        properties["policy"] = {"resourceId": resource_id(request.scope, _policy_path(request, device.policy))}
    path = f"namespaces/{request.namespace}/devices/{device.device_id}"
    return request.resource(path, properties, etag=f'"{device.identifier}"')


def _policy_path(request: ArmRequest, name: str) -> str:
    return f"namespaces/{request.namespace}/credentials/default/policies/{name}"


def _describe_certificate(request: ArmRequest, note: IssuedCertificate) -> dict[str, Any]:
    revocation = request.adr.revocations.get(note.issuer_thumbprint, note.serial_number)
    issuers = request.adr.authorities.generations(request.namespace)
    issuer = next((each for each in issuers if each.certificate and each.thumbprint == note.issuer_thumbprint), None)
    status = "Valid" if note.not_after > request.now else "Expired"
    if revocation is not None or (issuer is not None and issuer.state.value == "revoked"):
        status = "Revoked"
    return {
        "serialNumber": note.serial_number,
        "sha256Thumbprint": note.thumbprint,
        "policy": note.policy,
        "issuingCa": f"{issuer.name}.{issuer.generation}" if issuer is not None else None,
        "validityNotAfter": format_time(note.not_after),
        "status": status,
        "revokedAt": None if revocation is None else format_time(revocation.revoked_at),
        "revocationReason": None if revocation is None else revocation.reason.value,
    }
