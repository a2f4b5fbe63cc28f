"""Symmetric key attestation: a SAS token signed with a device's own key, or with one derived from its group's."""

from datetime import datetime
from urllib.parse import unquote

from dps.attestation_mechanism import SymmetricKeyAttestation
from dps.credentials import Attested, Credentials
from dps.enrollment import EnrollmentGroup, IndividualEnrollment
from dps.enrollments import Enrollments
from dps.errors import Unauthorized
from dps.registration_id import registration_key
from hub.sas import SasToken, derive_device_key, verify_sas_signature


def attest_symmetric_key(enrollments: Enrollments, credentials: Credentials, now: datetime) -> Attested:
    """Find the enrollment whose key signed the token; an individual enrollment of the ID decides alone.

    Raises:
        Unauthorized: the token is for another registration, has expired, or no key fits; the text says which.

    Source: concepts-symmetric-key-attestation.md (documented).
    """
    token = credentials.token
    assert token is not None, "only called for credentials with a token"
    _require_current(credentials, token, now)
    individual = enrollments.individuals.find(credentials.registration_id)
    if individual is not None:
        return _attest_individual(individual, credentials, token)
    groups = enrollments.groups.with_symmetric_keys()
    for group in groups:
        key_id = _derived_from(group, credentials.registration_id, token)
        if key_id is not None:
            return Attested(group, credentials.registration_id, key_id)
    raise Unauthorized(
        f"no individual enrollment {credentials.registration_id!r}, and none of {len(groups)} enrollment groups "
        "has a key that derives the key which signed the token"
    )


def _require_current(credentials: Credentials, token: SasToken, now: datetime) -> None:
    resource = f"{credentials.id_scope}/registrations/{credentials.registration_id}"
    if registration_key(unquote(token.resource)) != registration_key(resource):
        raise Unauthorized(f"the token is for {unquote(token.resource)[:200]!r}, not for {resource!r}")
    if token.expires_at <= now:
        raise Unauthorized(f"the token expired at {token.expires_at.isoformat()}, it is {now.isoformat()}")


def _attest_individual(enrollment: IndividualEnrollment, credentials: Credentials, token: SasToken) -> Attested:
    attestation = enrollment.attestation
    if not isinstance(attestation, SymmetricKeyAttestation):
        raise Unauthorized(f"individual enrollment {enrollment.name!r} attests by certificate, not by token")
    if not any([verify_sas_signature(token, key) for key in attestation.keys]):  # noqa: C419 - same time for both
        raise Unauthorized(f"the token is signed by neither key of individual enrollment {enrollment.name!r}")
    return Attested(enrollment, credentials.registration_id, credentials.registration_id)


def _derived_from(group: EnrollmentGroup, registration_id: str, token: SasToken) -> str | None:
    """Return the spelling of the ID that the group's key derives the token's key from.

    Clients differ: some derive from the ID as configured, some from its lower-case form.

    Source: both spellings are accepted (assumed).
    """
    attestation = group.attestation
    assert isinstance(attestation, SymmetricKeyAttestation), f"group {group.name} is indexed as one with keys"
    for spelling in dict.fromkeys((registration_id, registration_key(registration_id))):
        for key in attestation.keys:
            if verify_sas_signature(token, derive_device_key(key, spelling)):
                return spelling
    return None
