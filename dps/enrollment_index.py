"""Under which keys an enrollment group is found by what a device presents.

Editing rules: a key depends on the group alone, never on another record, so that it can be removed again.
"""

import hashlib

from cryptography import x509

from dps.attestation_mechanism import SymmetricKeyAttestation, X509CaReferences, X509SigningCertificates
from dps.enrollment import EnrollmentGroup
from dps.registration_id import registration_key

SYMMETRIC_KEY_PREFIX = "symmetricKey/"
CA_REFERENCES_PREFIX = "caReferences/"


def subject_prefix(subject: x509.Name) -> str:
    """Return what the keys of all groups with a signing certificate of this subject begin with."""
    return f"x509/{hashlib.sha256(subject.public_bytes()).hexdigest()}/"


def index_keys(group: EnrollmentGroup) -> set[str]:
    """Return the keys of one group; a signing certificate's key is the same in whichever group it stands."""
    match group.attestation:
        case SymmetricKeyAttestation():
            return {SYMMETRIC_KEY_PREFIX + registration_key(group.name)}
        case X509CaReferences():
            return {CA_REFERENCES_PREFIX + registration_key(group.name)}
        case X509SigningCertificates(primary, secondary):
            enrolled = [primary, secondary] if secondary else [primary]
            return {subject_prefix(each.subject) + each.sha256_thumbprint for each in enrolled}
        case _:
            return set()
