"""What an enrollment must be before it is stored."""

from adr.errors import AdrError
from adr.links import Link
from adr.registry import AdrRegistry
from dps.allocation import CHOOSERS, AllocationPolicy
from dps.attestation_mechanism import (
    SymmetricKeyAttestation,
    X509ClientCertificates,
    X509SigningCertificates,
    check_key,
)
from dps.enrollment import Enrollment, EnrollmentGroup, IndividualEnrollment
from dps.errors import BadRequest, NamespaceRequired
from dps.registration_id import is_registration_id
from hub.errors import ArgumentInvalid
from hub.identity import NEVER, check_device_id
from hub.twin_json import parse_initial_twin


class EnrollmentRules:
    """The rules of one DPS; `link` says which ADR namespace it is linked to, if any."""

    def __init__(self, adr: AdrRegistry, link: Link) -> None:
        self._adr = adr
        self._link = link

    def check(self, enrollment: Enrollment) -> None:
        """Check an enrollment as it is to be written.

        Raises:
            BadRequest: a rule is broken; the text says which.
            NamespaceRequired: it names a credential policy and this DPS has no namespace.
        """
        if not is_registration_id(enrollment.name):
            raise BadRequest(
                f"the ID {enrollment.name[:140]!r} is not 1 to 128 letters, digits or '-._:' "
                "ending in a letter, a digit or a dash"
            )
        _check_attestation(enrollment)
        _check_allocation(enrollment)
        _check_device_id(enrollment)
        _check_initial_twin(enrollment)
        self._check_credential_policy(enrollment)

    def _check_credential_policy(self, enrollment: Enrollment) -> None:
        """Check the policy.

        Source: Azure.Iot.Sdk.Test.psm1 (observed) for the namespace; that the policy must exist is assumed.
        """
        policy = enrollment.credential_policy_name
        if policy is None:
            return
        namespace = self._link.namespace
        if namespace is None:
            raise NamespaceRequired(f"enrollment {enrollment.name!r} names policy {policy!r}")
        try:
            self._adr.policy(namespace, policy)
        except AdrError as error:
            raise BadRequest(f"enrollment {enrollment.name!r}: {error}") from error


def _check_attestation(enrollment: Enrollment) -> None:
    is_group = isinstance(enrollment, EnrollmentGroup)
    match enrollment.attestation:
        case SymmetricKeyAttestation(primary, secondary):
            check_key("primaryKey", primary)
            check_key("secondaryKey", secondary)
        case X509ClientCertificates() if is_group:
            raise BadRequest(f"group {enrollment.name!r} has client certificates; it takes signing certificates")
        case X509SigningCertificates() if not is_group:
            raise BadRequest(f"individual enrollment {enrollment.name!r} takes client certificates")
        case _:
            return


def _check_allocation(enrollment: Enrollment) -> None:
    policy = enrollment.allocation_policy
    if policy is not None and policy not in CHOOSERS:
        raise BadRequest(f"allocation policy {policy.value!r} is not offered; choose {sorted(CHOOSERS)}")
    if policy is AllocationPolicy.STATIC and len(enrollment.iot_hubs) != 1:
        raise BadRequest(f"a static allocation names one hub, not {len(enrollment.iot_hubs)}")


def _check_device_id(enrollment: Enrollment) -> None:
    if not isinstance(enrollment, IndividualEnrollment) or enrollment.device_id is None:
        return
    try:
        check_device_id(enrollment.device_id)
    except ArgumentInvalid as error:
        raise BadRequest(str(error)) from error


def _check_initial_twin(enrollment: Enrollment) -> None:
    if enrollment.initial_twin is None:
        return
    try:
        parse_initial_twin(enrollment.initial_twin, NEVER)
    except ArgumentInvalid as error:
        raise BadRequest(f"initialTwin of enrollment {enrollment.name!r}: {error}") from error
