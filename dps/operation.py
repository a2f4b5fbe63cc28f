"""One registration operation: what a device polls for."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dps.api_version import ApiVersion, parse_api_version
from dps.registration import Registration, format_registration, registration_of
from dps.request import RegisterRequest
from dps.timestamp import format_timestamp, parse_timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_GENERATION = "5"


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """What is still to be done, and for whom.

    `enrollment_name` with `is_group` names the enrollment; `key_id` is the spelling a derived key was made from,
    `thumbprint` the SHA-256 of the leaf the device presented, empty after a token.
    """

    request: RegisterRequest
    api_version: ApiVersion
    enrollment_name: str
    is_group: bool
    key_id: str
    due_at: datetime
    thumbprint: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation with the registration as it stood when the operation last moved.

    `issued_chain` is base64 DER, leaf first; it lives here only, so that no other answer can repeat it.
    """

    operation_id: str
    registration: Registration
    etag: str = ""
    issued_chain: tuple[str, ...] = ()
    pending: PendingRequest | None = None


def format_operation_id(created_at: datetime, unique: UUID) -> str:
    """Write `5.{16 hex}.{guid}`; the hex digits are the microseconds since 1970, so that IDs sort by age.

    Source: the form is observed; what Azure's 16 digits mean is not known (assumed).
    """
    return f"{_GENERATION}.{(created_at - _EPOCH) // _MICROSECOND:016x}.{unique}"


def first_operation_id(created_at: datetime) -> str:
    """Return a text that sorts before every operation ID of this time, and after all older ones."""
    return f"{_GENERATION}.{max((created_at - _EPOCH) // _MICROSECOND, 0):016x}"


def format_operation(operation: Operation) -> str:
    """Write an operation for the store; its ID is the key."""
    members: dict[str, Any] = {"registration": format_registration(operation.registration), "etag": operation.etag}
    if operation.issued_chain:
        members["issuedChain"] = operation.issued_chain
    if operation.pending:
        members["pending"] = _format_pending(operation.pending)
    return json.dumps(members)


def parse_operation(operation_id: str, text: str) -> Operation:
    """Read what `format_operation` wrote."""
    members = json.loads(text)
    pending = members.get("pending")
    return Operation(
        operation_id=operation_id,
        registration=registration_of(members["registration"]),
        etag=members["etag"],
        issued_chain=tuple(members.get("issuedChain", ())),
        pending=_parse_pending(pending) if pending else None,
    )


def _format_pending(pending: PendingRequest) -> dict[str, Any]:
    csr = pending.request.csr
    return {
        "csr": None if csr is None else base64.b64encode(csr).decode(),
        "payload": pending.request.payload,
        "apiVersion": pending.api_version.text,
        "enrollment": pending.enrollment_name,
        "isGroup": pending.is_group,
        "keyId": pending.key_id,
        "thumbprint": pending.thumbprint,
        "dueAt": format_timestamp(pending.due_at),
    }


def _parse_pending(members: dict[str, Any]) -> PendingRequest:
    csr = members["csr"]
    return PendingRequest(
        request=RegisterRequest(None if csr is None else base64.b64decode(csr), members["payload"]),
        api_version=parse_api_version(members["apiVersion"]),
        enrollment_name=members["enrollment"],
        is_group=members["isGroup"],
        key_id=members["keyId"],
        due_at=parse_timestamp(members["dueAt"]),
        thumbprint=members["thumbprint"],
    )
