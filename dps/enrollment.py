"""Enrollments: which devices may register, how they prove who they are, and what they get."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from dps.allocation import AllocationPolicy
from dps.attestation_mechanism import Attestation

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ProvisioningStatus(StrEnum):
    """Whether an enrollment lets its devices in."""

    ENABLED = "enabled"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class ReprovisionPolicy:
    """What happens to a device that registers again.

    Attributes:
        update_hub_assignment: allocate again; False keeps the hub it has.
        migrate_device_data: when the hub changes, take the twin along; False starts from the initial twin.

    Source: concepts-device-reprovision.md (documented).
    """

    update_hub_assignment: bool = True
    migrate_device_data: bool = True


@dataclass(frozen=True, kw_only=True)
class Enrollment:
    """What individual enrollments and groups have in common.

    Attributes:
        attestation: what its devices are recognised by.
        provisioning_status: disabled refuses its devices.
        allocation_policy: None takes the policy of the DPS.
        iot_hubs: host names to choose from; empty allows every linked hub.
        reprovision_policy: what happens at a second registration.
        credential_policy_name: the ADR policy that signs CSRs of its devices; None signs none.
        initial_twin: `{tags, properties: {desired}}` a new device starts with.
        iot_edge: the device is an IoT Edge device.
        created_at: set by the store.
        last_updated_at: set by the store.
        etag: set by the store.
    """

    attestation: Attestation
    provisioning_status: ProvisioningStatus = ProvisioningStatus.ENABLED
    allocation_policy: AllocationPolicy | None = None
    iot_hubs: tuple[str, ...] = ()
    reprovision_policy: ReprovisionPolicy = field(default_factory=ReprovisionPolicy)
    credential_policy_name: str | None = None
    initial_twin: Mapping[str, Any] | None = None
    iot_edge: bool = False
    created_at: datetime = NEVER
    last_updated_at: datetime = NEVER
    etag: str = ""

    @property
    def name(self) -> str:
        """The registration ID or the group ID."""
        raise NotImplementedError

    @property
    def enabled(self) -> bool:
        """Whether its devices may register."""
        return self.provisioning_status is ProvisioningStatus.ENABLED


@dataclass(frozen=True, kw_only=True)
class IndividualEnrollment(Enrollment):
    """One device. `device_id` is its ID in the hub when that shall differ from the registration ID."""

    registration_id: str
    device_id: str | None = None
    optional_device_information: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The registration ID."""
        return self.registration_id


@dataclass(frozen=True, kw_only=True)
class EnrollmentGroup(Enrollment):
    """All devices that share a signing CA or a group key."""

    enrollment_group_id: str

    @property
    def name(self) -> str:
        """The group ID."""
        return self.enrollment_group_id
