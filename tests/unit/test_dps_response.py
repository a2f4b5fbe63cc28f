"""Bodies: what each client needs to find in them, or not to find."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from dps.api_version import parse_api_version
from dps.attestation_mechanism import AttestationType
from dps.errors import BadRequest, DpsError, OperationNotFound, Unauthorized
from dps.etag import format_etag
from dps.operation import Operation, PendingRequest
from dps.registration import Registration, RegistrationStatus, Substatus
from dps.request import RegisterRequest
from dps.response import (
    Response,
    format_accepted,
    format_disabled,
    format_error,
    format_operation_status,
    format_registration_state,
)

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
VERSION = parse_api_version("2025-07-01-preview")
ASSIGNED = Registration(
    registration_id="sensor-001",
    created_at=NOW,
    last_updated_at=NOW,
    status=RegistrationStatus.ASSIGNED,
    operation_id="5.1.a",
    attestation_type=AttestationType.SYMMETRIC_KEY,
    assigned_hub="hub1.example",
    device_id="sensor-001",
    substatus=Substatus.INITIAL_ASSIGNMENT,
)
CHAIN = ("bGVhZg==", "aWNh", "cm9vdA==")


def body_of(response: Response) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.body.decode("ascii"))
    return body


def status_of(registration: Registration, **members: Any) -> dict[str, Any]:
    return body_of(format_operation_status(Operation("5.1.a", registration, "etag", **members), VERSION, 3))


def test_accepted_has_no_registration_state() -> None:
    response = format_accepted("5.1.a", 4)
    assert (response.status, response.retry_after_seconds) == (202, 4)
    assert response.body == b'{"operationId":"5.1.a","status":"assigning"}'


def test_pending_poll_has_registration_id_and_status() -> None:
    pending = PendingRequest(RegisterRequest(), VERSION, "factory", True, "sensor-001", NOW)
    assigning = replace(ASSIGNED, status=RegistrationStatus.ASSIGNING)
    response = format_operation_status(Operation("5.1.a", assigning, pending=pending), VERSION, 5)
    assert (response.status, response.retry_after_seconds) == (202, 5)
    assert body_of(response)["registrationState"] == {"registrationId": "sensor-001", "status": "assigning"}


def test_final_answer_has_no_retry_after() -> None:
    response = format_operation_status(Operation("5.1.a", ASSIGNED, "etag"), VERSION, 5)
    assert (response.status, response.retry_after_seconds) == (200, None)


@pytest.mark.parametrize(
    ("attestation", "group", "node"),
    [
        (AttestationType.X509, "factory", {"x509": {"enrollmentGroupId": "factory"}}),
        (AttestationType.X509, None, {"x509": {}}),
        (AttestationType.SYMMETRIC_KEY, "keys", {"symmetricKey": {"enrollmentGroupId": "keys"}}),
        (AttestationType.SYMMETRIC_KEY, None, {}),
    ],
)
def test_attestation_node_is_complete_or_absent(
    attestation: AttestationType, group: str | None, node: dict[str, Any]
) -> None:
    state = status_of(replace(ASSIGNED, attestation_type=attestation, enrollment_group_id=group))["registrationState"]
    assert {name: state[name] for name in ("x509", "symmetricKey", "tpm") if name in state} == node


def test_failed_state_names_the_error_and_no_hub() -> None:
    failed = replace(ASSIGNED, status=RegistrationStatus.FAILED, error_code=400207, error_message="Custom allocation")
    body = status_of(failed)
    assert body["status"] == "failed"
    state = body["registrationState"]
    assert (state["errorCode"], state["errorMessage"]) == (400207, "Custom allocation")
    assert not {"assignedHub", "deviceId", "substatus", "x509"} & set(state)


def test_disabled_outcome_of_an_operation_keeps_its_id() -> None:
    disabled = replace(ASSIGNED, status=RegistrationStatus.DISABLED)
    state = {"registrationId": "sensor-001", "status": "disabled"}
    assert status_of(disabled) == {"operationId": "5.1.a", "status": "disabled", "registrationState": state}
    assert body_of(format_disabled(disabled))["operationId"] == ""


def test_body_is_ascii_whatever_is_in_it() -> None:
    response = format_operation_status(
        Operation("5.1.a", replace(ASSIGNED, payload={"ort": "Köln \U0001f600"}), "etag"), VERSION, 3
    )
    assert response.body.isascii()
    assert body_of(response)["registrationState"]["payload"] == {"ort": "Köln \U0001f600"}


@pytest.mark.parametrize("text", ["2025-07-01-preview", "2026-11-01", "2026-11-02-preview"])
def test_chain_is_an_array_from_2025_on(text: str) -> None:
    operation = Operation("5.1.a", ASSIGNED, "etag", CHAIN)
    body = body_of(format_operation_status(operation, parse_api_version(text), 3))
    assert body["registrationState"]["issuedCertificateChain"] == list(CHAIN)


@pytest.mark.parametrize("text", ["2019-03-31", "2021-06-01"])
def test_chain_is_absent_before(text: str) -> None:
    operation = Operation("5.1.a", ASSIGNED, "etag", CHAIN)
    body = body_of(format_operation_status(operation, parse_api_version(text), 3))
    assert not {"issuedCertificateChain", "issuedClientCertificate"} & set(body["registrationState"])


def test_registration_state_never_has_a_chain() -> None:
    assert "issuedCertificateChain" not in format_registration_state(replace(ASSIGNED, is_issued=True), "etag")


def test_error_body_has_the_four_members() -> None:
    tracking_id = UUID(int=7)
    response = format_error(Unauthorized("the reason is for the log"), tracking_id, NOW)
    assert response.status == 401
    assert body_of(response) == {
        "errorCode": 401000,
        "trackingId": str(tracking_id),
        "message": "Unauthorized",
        "timestampUtc": "2026-11-23T10:00:00.0000000Z",
    }


@pytest.mark.parametrize("error", [BadRequest("the body has 5 bytes"), OperationNotFound("another device's")])
def test_error_tells_its_reason_where_it_may(error: DpsError) -> None:
    message = body_of(format_error(error, UUID(int=1), NOW))["message"]
    assert message == ("the body has 5 bytes" if isinstance(error, BadRequest) else "Operation not found")


def test_etag_in_a_body_is_base64_of_a_quoted_text() -> None:
    operation = Operation("5.1.a", ASSIGNED, format_etag(NOW, 1))
    state = body_of(format_operation_status(operation, VERSION, 3))["registrationState"]
    decoded = base64.b64decode(state["etag"]).decode()
    assert decoded[0] == decoded[-1] == '"'
