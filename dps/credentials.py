"""What a connection brought to prove who it is, and what has been proven."""

from dataclasses import dataclass, field

from certs.peer import PeerChain
from dps.attestation_mechanism import (
    AttestationType,
    SymmetricKeyAttestation,
    X509ClientCertificates,
    attestation_type,
)
from dps.enrollment import Enrollment, EnrollmentGroup, IndividualEnrollment
from hub.identity import Authentication, AuthenticationType
from hub.sas import SasToken, derive_device_key


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection brought: a token, why the token could not be read, or a certificate chain (maybe empty)."""

    id_scope: str
    registration_id: str
    token: SasToken | None = None
    token_error: str = ""
    peer_chain: PeerChain = field(default_factory=PeerChain)


@dataclass(frozen=True, slots=True)
class Attested:
    """A device that has proven its registration ID, and the enrollment that lets it in.

    `registration_id` is in the device's spelling, `key_id` in the spelling its derived key was made from.
    `thumbprint` is the SHA-256 of the leaf it presented, empty after a token.
    """

    enrollment: Enrollment
    registration_id: str
    key_id: str
    thumbprint: str = ""

    @property
    def attestation_type(self) -> AttestationType:
        """Which mechanism the enrollment uses."""
        return attestation_type(self.enrollment.attestation)

    @property
    def enrollment_group_id(self) -> str | None:
        """The group it came in by, None for an individual enrollment."""
        return self.enrollment.name if isinstance(self.enrollment, EnrollmentGroup) else None

    @property
    def device_id(self) -> str | None:
        """The device ID that the enrollment prescribes."""
        return self.enrollment.device_id if isinstance(self.enrollment, IndividualEnrollment) else None


def hub_authentication(attested: Attested) -> Authentication:
    """Say how the hub shall recognise the device when no operational certificate is issued for it.

    A device of an X.509 group, too, is recognised by the thumbprint of the leaf it registered with, until it registers
    with another one: the group's CA is none of the hub's.

    Source: concepts-service.md (documented); thumbprints for groups: azure-docs issues 70976 and 108289,
    azure-iot-sdk-csharp issue 3360; SHA-256, and the primary in both places: iotedge issue 2951 (observed).
    """
    match attested.enrollment.attestation:
        case SymmetricKeyAttestation() as keys if attested.enrollment_group_id is not None:
            derived = [derive_device_key(key, attested.key_id) for key in keys.keys]
            return Authentication(AuthenticationType.SAS, *derived)
        case SymmetricKeyAttestation(primary, secondary):
            return Authentication(AuthenticationType.SAS, primary, secondary)
        case X509ClientCertificates(primary, secondary):
            return _by_thumbprint(primary.sha256_thumbprint, (secondary or primary).sha256_thumbprint)
        case _:
            return _by_thumbprint(attested.thumbprint, attested.thumbprint)


def _by_thumbprint(primary: str, secondary: str) -> Authentication:
    return Authentication(AuthenticationType.SELF_SIGNED, primary_thumbprint=primary, secondary_thumbprint=secondary)
