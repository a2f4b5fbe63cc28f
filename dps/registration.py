"""The state of one device's registration.

Editing rules: every way from one status to another is a row of `TRANSITIONS`; what is not there cannot happen.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import Any, Self

from dps.attestation_mechanism import AttestationType
from dps.errors import RegistrationInProgress
from dps.timestamp import format_timestamp, parse_timestamp


class RegistrationStatus(StrEnum):
    """Where a registration stands.

    Source: azure-rest-api-specs DPS device/models.tsp (documented).
    """

    UNASSIGNED = "unassigned"
    ASSIGNING = "assigning"
    ASSIGNED = "assigned"
    FAILED = "failed"
    DISABLED = "disabled"


class Substatus(StrEnum):
    """How an assigned device came to its hub.

    Source: azure-rest-api-specs DPS device/models.tsp (documented).
    """

    INITIAL_ASSIGNMENT = "initialAssignment"
    DEVICE_DATA_MIGRATED = "deviceDataMigrated"
    DEVICE_DATA_RESET = "deviceDataReset"
    REPROVISIONED_TO_INITIAL_ASSIGNMENT = "reprovisionedToInitialAssignment"


class RegistrationEvent(Enum):
    """What can happen to a registration."""

    REGISTER = auto()
    ASSIGN = auto()
    FAIL = auto()
    DISABLE = auto()


_S, _E = RegistrationStatus, RegistrationEvent
TRANSITIONS: Mapping[tuple[RegistrationStatus, RegistrationEvent], RegistrationStatus] = MappingProxyType(
    {
        (_S.UNASSIGNED, _E.REGISTER): _S.ASSIGNING,
        (_S.ASSIGNED, _E.REGISTER): _S.ASSIGNING,
        (_S.FAILED, _E.REGISTER): _S.ASSIGNING,
        (_S.DISABLED, _E.REGISTER): _S.ASSIGNING,
        (_S.ASSIGNING, _E.ASSIGN): _S.ASSIGNED,
        (_S.ASSIGNING, _E.FAIL): _S.FAILED,
        # The enrollment was disabled: before a first registration, while one was worked on, or after it.
        (_S.UNASSIGNED, _E.DISABLE): _S.DISABLED,
        (_S.ASSIGNING, _E.DISABLE): _S.DISABLED,
        (_S.ASSIGNED, _E.DISABLE): _S.DISABLED,
        (_S.FAILED, _E.DISABLE): _S.DISABLED,
        (_S.DISABLED, _E.DISABLE): _S.DISABLED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What DPS knows about one device.

    Attributes:
        registration_id: in the spelling of the latest request.
        created_at: when the device first registered; it stays through later registrations.
        last_updated_at: when anything last changed.
        status: where it stands.
        operation_id: the latest operation.
        attestation_type: what it was attested by.
        enrollment_group_id: the group it came in by; None for an individual enrollment.
        assigned_hub: host name of the hub that holds its identity, also while the status is not `assigned`.
        device_id: the identity's ID there.
        substatus: how it came to that hub.
        is_issued: an operational certificate was issued for it.
        error_code: why it failed.
        error_message: why it failed, in words.
        payload: what a custom allocation returned.
    """

    registration_id: str
    created_at: datetime
    last_updated_at: datetime
    status: RegistrationStatus = RegistrationStatus.UNASSIGNED
    operation_id: str = ""
    attestation_type: AttestationType | None = None
    enrollment_group_id: str | None = None
    assigned_hub: str | None = None
    device_id: str | None = None
    substatus: Substatus | None = None
    is_issued: bool = False
    error_code: int | None = None
    error_message: str | None = None
    payload: Mapping[str, Any] | None = None

    def begin(self, registration_id: str, operation_id: str, now: datetime) -> Self:
        """Take a new request.

        Raises:
            RegistrationInProgress: another one is still being worked on.
        """
        if (self.status, RegistrationEvent.REGISTER) not in TRANSITIONS:
            raise RegistrationInProgress(
                f"registration {self.registration_id} is {self.status} in operation {self.operation_id}; "
                "one operation runs at a time"
            )
        return self._after(
            RegistrationEvent.REGISTER,
            now,
            registration_id=registration_id,
            operation_id=operation_id,
            error_code=None,
            error_message=None,
        )

    def assign(self, now: datetime, *, is_issued: bool) -> Self:
        """Finish: the device has its hub, its identity and, if `is_issued`, its certificate."""
        assert self.assigned_hub and self.device_id, f"{self.registration_id} was not placed"
        return self._after(RegistrationEvent.ASSIGN, now, is_issued=self.is_issued or is_issued)

    def fail(self, error_code: int, error_message: str, now: datetime) -> Self:
        """Finish with an error."""
        return self._after(RegistrationEvent.FAIL, now, error_code=error_code, error_message=error_message)

    def disable(self, now: datetime) -> Self:
        """Take note that the enrollment is disabled; a hub identity that is there stays."""
        return self._after(RegistrationEvent.DISABLE, now)

    def _after(self, event: RegistrationEvent, now: datetime, **changes: Any) -> Self:
        return replace(self, status=TRANSITIONS[self.status, event], last_updated_at=now, **changes)


def format_registration(registration: Registration) -> dict[str, Any]:
    """Write a registration for the store; members without a value are left out."""
    members = {
        "registrationId": registration.registration_id,
        "createdDateTimeUtc": format_timestamp(registration.created_at),
        "lastUpdatedDateTimeUtc": format_timestamp(registration.last_updated_at),
        "status": registration.status.value,
        "operationId": registration.operation_id,
        "attestation": registration.attestation_type,
        "enrollmentGroupId": registration.enrollment_group_id,
        "assignedHub": registration.assigned_hub,
        "deviceId": registration.device_id,
        "substatus": registration.substatus,
        "isIssued": registration.is_issued,
        "errorCode": registration.error_code,
        "errorMessage": registration.error_message,
        "payload": registration.payload,
    }
    return {name: value for name, value in members.items() if value is not None}


def parse_registration(text: str) -> Registration:
    """Read what `format_registration` wrote."""
    members = json.loads(text)
    return registration_of(members)


def registration_of(members: Mapping[str, Any]) -> Registration:
    """Read the members that `format_registration` made."""
    attestation, substatus = members.get("attestation"), members.get("substatus")
    return Registration(
        registration_id=members["registrationId"],
        created_at=parse_timestamp(members["createdDateTimeUtc"]),
        last_updated_at=parse_timestamp(members["lastUpdatedDateTimeUtc"]),
        status=RegistrationStatus(members["status"]),
        operation_id=members["operationId"],
        attestation_type=AttestationType(attestation) if attestation else None,
        enrollment_group_id=members.get("enrollmentGroupId"),
        assigned_hub=members.get("assignedHub"),
        device_id=members.get("deviceId"),
        substatus=Substatus(substatus) if substatus else None,
        is_issued=members["isIssued"],
        error_code=members.get("errorCode"),
        error_message=members.get("errorMessage"),
        payload=members.get("payload"),
    )
