"""The body of a certificate request: `{"id", "csr", "replace"?}`, checked in the order the service does.

Source of all rules and messages: azure-iot-sdk-csharp feature/iot-csr-preview csr-scenarions.md (observed).
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from certs.csr import CsrError, CsrReason, decode_csr
from hub.errors import ArgumentInvalid, IotHubFormatError

ANY_REQUEST = "*"
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,34}[A-Za-z0-9]", re.ASCII)
FIELDS = frozenset({"id", "csr", "replace"})

_CSR_MESSAGES = {
    CsrReason.TOO_LARGE: "Issue certificate request 'csr' field exceeds maximum allowed length. Reduce the CSR size.",
    CsrReason.NOT_BASE64: (
        "Issue certificate request 'csr' field is not valid base64. Ensure the CSR is properly base64-encoded."
    ),
}


@dataclass(frozen=True, slots=True)
class CredentialRequest:
    """A well-formed request; whether `csr` (DER) is PKCS#10 is found out when it is issued."""

    csr: bytes
    replace: str | None


def parse_credential_request(body: bytes, device_id: str) -> CredentialRequest:
    """Read and check the body of a request of this device.

    Raises:
        ArgumentInvalid: a field is missing, malformed, unknown, or names another device.
        IotHubFormatError: the body is not JSON.
    """
    fields = _parse_object(body)
    if set(fields) - FIELDS:
        raise ArgumentInvalid(
            "Issue certificate request payload contains an unknown field. "
            "Only 'id', 'csr', and 'replace' fields are allowed."
        )
    _check_id(fields.get("id"), device_id)
    return CredentialRequest(_decode_csr(fields.get("csr")), _check_replace(fields.get("replace")))


def _parse_object(body: bytes) -> dict[str, Any]:
    if not body:
        raise ArgumentInvalid(
            "Issue certificate request payload is missing. Include a JSON payload with 'id' and 'csr' fields."
        )
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise IotHubFormatError("cannot decode json format") from None
    if not isinstance(fields, dict):
        raise _id_mismatch()
    return fields


def _check_id(value: object, device_id: str) -> None:
    if not isinstance(value, str) or not value:
        raise ArgumentInvalid(
            "Issue certificate request 'id' field is invalid or missing. "
            "Provide the device ID of the authenticated device."
        )
    if value != device_id:
        raise _id_mismatch()


def _id_mismatch() -> ArgumentInvalid:
    return ArgumentInvalid(
        "Issue certificate request 'id' field does not match the authenticated device ID. "
        "Use the same device ID used for authentication."
    )


def _decode_csr(value: object) -> bytes:
    if not isinstance(value, str) or not value:
        raise ArgumentInvalid(
            "Issue certificate request 'csr' field is invalid or missing. "
            "Provide a valid base64-encoded certificate signing request."
        )
    try:
        return decode_csr(value)
    except CsrError as error:
        raise ArgumentInvalid(_CSR_MESSAGES[error.reason]) from error


def _check_replace(value: object) -> str | None:
    if value is None or value == ANY_REQUEST:
        return None if value is None else ANY_REQUEST
    if isinstance(value, str) and REQUEST_ID.fullmatch(value):
        return value
    raise ArgumentInvalid(
        "Issue certificate request 'replace' field has an invalid format. An exact request ID must be between 4 and "
        "36 characters, only have alphanumeric characters and hyphens, and cannot start or end with a hyphen. "
        "Use '*' to replace any pending request."
    )
