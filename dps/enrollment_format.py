"""Enrollments as JSON: the one place where their members are spelled, for the service API and for the store."""

from typing import Any

from dps.allocation import AllocationPolicy
from dps.attestation_format import format_attestation, parse_attestation
from dps.enrollment import (
    NEVER,
    Enrollment,
    EnrollmentGroup,
    IndividualEnrollment,
    ProvisioningStatus,
    ReprovisionPolicy,
)
from dps.errors import BadRequest
from dps.json_members import (
    JsonObject,
    optional_choice,
    optional_flag,
    optional_object,
    optional_text,
    optional_texts,
    require_object,
    require_text,
)
from dps.timestamp import format_timestamp, parse_timestamp

_POLICY_MEMBERS = ("namespaceName", "certificateAuthorityName", "certificatePolicyName")


def parse_individual_enrollment(value: object) -> IndividualEnrollment:
    """Read an individual enrollment; unknown members are ignored.

    Raises:
        BadRequest: a member is missing or out of range.
        DeserializationError: a member has the wrong JSON type.

    Source: azure-rest-api-specs DPS service/models.tsp (documented).
    """
    document = require_object(value, "enrollment")
    return IndividualEnrollment(
        registration_id=require_text(document, "registrationId"),
        device_id=optional_text(document, "deviceId"),
        optional_device_information=optional_object(document, "optionalDeviceInformation"),
        **_parse_shared(document, group=False),
    )


def parse_enrollment_group(value: object) -> EnrollmentGroup:
    """Read an enrollment group; unknown members are ignored.

    Raises:
        BadRequest: a member is missing or out of range.
        DeserializationError: a member has the wrong JSON type.

    Source: azure-rest-api-specs DPS service/models.tsp (documented).
    """
    document = require_object(value, "enrollmentGroup")
    group_id = require_text(document, "enrollmentGroupId")
    return EnrollmentGroup(enrollment_group_id=group_id, **_parse_shared(document, group=True))


def format_enrollment(enrollment: Enrollment) -> JsonObject:
    """Write an enrollment with everything it has, keys included; absent members are left out."""
    document: JsonObject = {
        **_format_name(enrollment),
        "attestation": format_attestation(enrollment.attestation),
        "capabilities": {"iotEdge": enrollment.iot_edge},
        "etag": enrollment.etag or None,
        "provisioningStatus": enrollment.provisioning_status.value,
        "reprovisionPolicy": {
            "updateHubAssignment": enrollment.reprovision_policy.update_hub_assignment,
            "migrateDeviceData": enrollment.reprovision_policy.migrate_device_data,
        },
        "allocationPolicy": enrollment.allocation_policy.value if enrollment.allocation_policy else None,
        "iotHubs": list(enrollment.iot_hubs) or None,
        "initialTwin": enrollment.initial_twin,
        "credentialPolicyName": enrollment.credential_policy_name,
        "createdDateTimeUtc": format_timestamp(enrollment.created_at),
        "lastUpdatedDateTimeUtc": format_timestamp(enrollment.last_updated_at),
    }
    return {name: value for name, value in document.items() if value is not None}


def _format_name(enrollment: Enrollment) -> JsonObject:
    match enrollment:
        case IndividualEnrollment():
            return {
                "registrationId": enrollment.registration_id,
                "deviceId": enrollment.device_id,
                "optionalDeviceInformation": enrollment.optional_device_information,
            }
        case _:
            return {"enrollmentGroupId": enrollment.name}


def _parse_shared(document: JsonObject, *, group: bool) -> dict[str, Any]:
    status = optional_choice(document, "provisioningStatus", ProvisioningStatus)
    created, updated = (optional_text(document, name) for name in ("createdDateTimeUtc", "lastUpdatedDateTimeUtc"))
    capabilities = optional_object(document, "capabilities") or {}
    return {
        "attestation": parse_attestation(require_object(document.get("attestation"), "attestation"), group=group),
        "provisioning_status": status or ProvisioningStatus.ENABLED,
        "reprovision_policy": _parse_reprovision_policy(optional_object(document, "reprovisionPolicy") or {}),
        **_parse_allocation(document),
        "credential_policy_name": _parse_credential_policy(document),
        "initial_twin": optional_object(document, "initialTwin"),
        "iot_edge": optional_flag(capabilities, "iotEdge", default=False),
        "created_at": parse_timestamp(created) if created else NEVER,
        "last_updated_at": parse_timestamp(updated) if updated else NEVER,
    }


def _parse_reprovision_policy(document: JsonObject) -> ReprovisionPolicy:
    return ReprovisionPolicy(
        optional_flag(document, "updateHubAssignment", default=True),
        optional_flag(document, "migrateDeviceData", default=True),
    )


def _parse_allocation(document: JsonObject) -> dict[str, Any]:
    """Read the policy and its hubs; `iotHubHostName` alone is the older spelling of a static allocation."""
    policy = optional_choice(document, "allocationPolicy", AllocationPolicy)
    hubs = optional_texts(document, "iotHubs")
    host_name = optional_text(document, "iotHubHostName")
    if host_name and policy is None:
        policy = AllocationPolicy.STATIC
    if host_name and not hubs:
        hubs = (host_name,)
    return {"allocation_policy": policy, "iot_hubs": hubs}


def _parse_credential_policy(document: JsonObject) -> str | None:
    """Read the policy's name, or the newer triple (all three or none) that ends in it; an empty text names none.

    Source: azure-rest-api-specs DPS service/models.tsp 2026-11-01 (documented).
    """
    triple = [optional_text(document, name) for name in _POLICY_MEMBERS]
    if any(triple) and not all(triple):
        missing = [name for name, value in zip(_POLICY_MEMBERS, triple, strict=True) if not value]
        raise BadRequest(f"{', '.join(_POLICY_MEMBERS)} come together or not at all; missing: {', '.join(missing)}")
    name = optional_text(document, "credentialPolicyName")
    if name and triple[2] and name != triple[2]:
        raise BadRequest(f"credentialPolicyName {name!r} and certificatePolicyName {triple[2]!r} differ")
    return name or triple[2] or None
