"""The answers of DPS: their bodies, for MQTT and HTTPS alike.

Editing rules: ASCII only, because Node decodes bodies as ASCII. An `x509` or `symmetricKey` node is complete or absent,
and `payload` is an object or absent, because Java throws. `info` of an error maps texts to texts. The chain is in the
answer to a poll of the operation that issued it, and nowhere else.
"""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography import x509

from certs.pem import format_pem
from dps.api_version import ApiVersion
from dps.attestation_mechanism import AttestationType
from dps.errors import DpsError
from dps.operation import Operation
from dps.registration import Registration, RegistrationStatus
from dps.timestamp import format_timestamp

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `status` is an HTTP status, `retry_after_seconds` is for the topic or the header."""

    status: int
    body: bytes
    retry_after_seconds: int | None = None


def format_accepted(operation_id: str, retry_after_seconds: int) -> Response:
    """Answer a registration: work has begun. There is no `registrationState` yet.

    Source: azure-sdk-for-c test_az_iot_provisioning_client_parser.c (sdk).
    """
    body = {"operationId": operation_id, "status": RegistrationStatus.ASSIGNING.value}
    return Response(202, _encode(body).encode("ascii"), retry_after_seconds)


def format_assigning(operation_id: str, registration_id: str, retry_after_seconds: int) -> Response:
    """Answer a poll: work goes on. `registrationState` is there: IoT Edge cannot read a poll's answer without it.

    Source: azure-sdk-for-c test_az_iot_provisioning_client_parser.c, iot-identity-service schema.rs (sdk).
    """
    status = RegistrationStatus.ASSIGNING.value
    state = {"registrationId": registration_id, "status": status}
    body = {"operationId": operation_id, "status": status, "registrationState": state}
    return Response(202, _encode(body).encode("ascii"), retry_after_seconds)


def format_operation_status(operation: Operation, api_version: ApiVersion, retry_after_seconds: int) -> Response:
    """Answer a poll: 202 while something is left to do, 200 with the outcome, whatever it is.

    Source: azure-sdk-for-c test_az_iot_provisioning_client_parser.c (sdk).
    """
    registration = operation.registration
    if operation.pending is not None:
        return format_assigning(operation.operation_id, registration.registration_id, retry_after_seconds)
    if registration.status is RegistrationStatus.DISABLED:
        return format_disabled(registration, operation.operation_id)
    state = {**format_registration_state(registration, operation.etag), **_issued(operation, api_version)}
    body = {
        "operationId": operation.operation_id,
        "status": registration.status.value,
        "registrationState": state,
    }
    return Response(200, _encode(body).encode("ascii"))


def format_disabled(registration: Registration, operation_id: str = "") -> Response:
    """Answer for a device whose enrollment is disabled.

    Source: azure-sdk-for-c test_az_iot_provisioning_client_parser.c (sdk); that it answers register is assumed.
    """
    state = _short_state(registration)
    body = {"operationId": operation_id, "status": state["status"], "registrationState": state}
    return Response(200, _encode(body).encode("ascii"))


def format_registration_state(registration: Registration, etag: str) -> dict[str, Any]:
    """Write a `DeviceRegistrationState`, without any chain; also what the service API shows.

    Source: azure-rest-api-specs DPS device/models.tsp (documented).
    """
    is_assigned = registration.status is RegistrationStatus.ASSIGNED
    state = {
        **(_attestation_node(registration) if is_assigned else {}),
        "registrationId": registration.registration_id,
        "createdDateTimeUtc": format_timestamp(registration.created_at),
        "assignedHub": registration.assigned_hub if is_assigned else None,
        "deviceId": registration.device_id if is_assigned else None,
        "status": registration.status.value,
        "substatus": registration.substatus if is_assigned else None,
        "errorCode": registration.error_code,
        "errorMessage": registration.error_message,
        "lastUpdatedDateTimeUtc": format_timestamp(registration.last_updated_at),
        "etag": etag,
        "payload": registration.payload,
    }
    return {name: value for name, value in state.items() if value is not None}


def format_error(error: DpsError, tracking_id: UUID, now: datetime) -> Response:
    """Answer with an error; the tracking ID stands in the log beside the reason.

    Source: azure-rest-api-specs DPS device/models.tsp (documented).
    """
    body = {
        "errorCode": error.error_code,
        "trackingId": str(tracking_id),
        "message": error.message,
        "timestampUtc": format_timestamp(now),
    }
    return Response(error.status, _encode(body).encode("ascii"))


def _short_state(registration: Registration) -> dict[str, str]:
    return {"registrationId": registration.registration_id, "status": registration.status.value}


def _attestation_node(registration: Registration) -> dict[str, dict[str, str]]:
    """Name the group; certificate details are left out rather than given in part.

    Source: azure-rest-api-specs DPS device/models.tsp (documented); individual keys have no node (observed).
    """
    group = registration.enrollment_group_id
    node = {"enrollmentGroupId": group} if group else {}
    if registration.attestation_type is AttestationType.X509:
        return {"x509": node}
    return {"symmetricKey": node} if node else {}


def _issued(operation: Operation, api_version: ApiVersion) -> dict[str, Any]:
    """Write the chain in the form of the api-version; an older one has no place for it.

    Source: azure-rest-api-specs DPS device/models.tsp (documented); the PEM of the 2021 preview is the leaf alone
    (assumed).
    """
    chain = operation.issued_chain
    if chain and api_version.takes_csr:
        return {"issuedCertificateChain": list(chain)}
    if chain and api_version.takes_pem_csr:
        leaf = x509.load_der_x509_certificate(base64.b64decode(chain[0]))
        return {"issuedClientCertificate": format_pem(leaf).decode("ascii")}
    return {}
