"""X.509 attestation: the leaf an individual enrollment names, else the group whose CA is nearest the leaf."""

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509

from certs.extensions import MalformedCertificate, common_name_of, issuer_of, subject_of
from certs.path import PathRefusal, validate_path, walk_issuers
from certs.peer import PeerChain
from dps.attestation_mechanism import (
    Attestation,
    EnrolledCertificate,
    X509CaReferences,
    X509ClientCertificates,
    X509SigningCertificates,
)
from dps.ca_certificates import CaCertificates
from dps.credentials import Attested, Credentials
from dps.enrollment import Enrollment, EnrollmentGroup, IndividualEnrollment
from dps.enrollments import EnrollmentGroups, Enrollments
from dps.errors import CaCertificateNotFound, CertificateNotFound, InvalidCertificate
from dps.registration_id import registration_key

Certificates = tuple[x509.Certificate, ...]


def attest_x509(enrollments: Enrollments, credentials: Credentials, now: datetime) -> Attested:
    """Find the enrollment that the presented chain belongs to; the first that matches decides.

    Raises:
        CaCertificateNotFound: no enrollment knows the leaf or a CA above it.
        InvalidCertificate: one does, but the chain is not valid now, or the leaf names another device.

    Source: concepts-x509-attestation.md (documented); the text for each refusal, and that an individual leaf must be
    valid now, are assumed.
    """
    chain, registration_id = credentials.peer_chain, credentials.registration_id
    individual = enrollments.individuals.find(registration_id)
    try:
        leaf = chain.leaf
        assert leaf is not None, "only called for credentials with a chain"
        enrollment = _attest_individual(enrollments, individual, chain, now) or _attest_group(enrollments, chain, now)
        common_name = common_name_of(leaf)
    except MalformedCertificate as error:
        raise InvalidCertificate(f"the presented chain is malformed: {error}") from error
    if enrollment is None:
        raise CaCertificateNotFound(_describe_unknown(individual, leaf, chain.intermediates))
    if common_name is None or registration_key(common_name) != registration_key(registration_id):
        raise InvalidCertificate(f"the leaf's common name is {common_name!r}, the registration ID {registration_id!r}")
    return Attested(enrollment, registration_id, registration_id, chain.sha256_thumbprint)


def _attest_individual(
    enrollments: Enrollments, individual: IndividualEnrollment | None, chain: PeerChain, now: datetime
) -> Enrollment | None:
    """Match the leaf by thumbprint, or the chain by the CA that the individual enrollment refers to."""
    assert chain.leaf is not None
    match individual.attestation if individual else None:
        case X509ClientCertificates(primary, secondary):
            enrolled = [primary, secondary] if secondary else [primary]
            if chain.sha256_thumbprint not in [each.sha256_thumbprint for each in enrolled]:
                return None
            _require_valid_now(chain.leaf, now)
            return individual
        case X509CaReferences() as references:
            anchors = [anchor.certificate for anchor in _anchors(enrollments.ca_certificates, references)]
            path = validate_path(chain.leaf, chain.intermediates, anchors, now)
            return None if isinstance(path, PathRefusal) else individual
        case _:
            return None


def _attest_group(enrollments: Enrollments, chain: PeerChain, now: datetime) -> EnrollmentGroup | None:
    """Go up from the leaf: at each issuer's name, try the groups that hold a CA certificate of that name."""
    assert chain.leaf is not None
    refusal: PathRefusal | None = None
    for certificate in _upwards(chain.leaf, chain.intermediates):
        for group, anchors in _candidates(enrollments, issuer_of(certificate)):
            path = validate_path(chain.leaf, chain.intermediates, anchors, now)
            if not isinstance(path, PathRefusal):
                return group
            refusal = refusal or path
    if refusal is not None:
        raise InvalidCertificate(refusal.detail)
    return None


def _upwards(leaf: x509.Certificate, intermediates: Certificates) -> Iterator[x509.Certificate]:
    """Yield the leaf, then its presented issuers; most devices are found before those are needed."""
    yield leaf
    yield from walk_issuers(leaf, intermediates)[1:]


def _candidates(enrollments: Enrollments, issuer: x509.Name) -> Iterator[tuple[EnrollmentGroup, Certificates]]:
    for group in _groups_to_try(enrollments.groups, issuer):
        anchors = _anchors(enrollments.ca_certificates, group.attestation)
        named = tuple(anchor.certificate for anchor in anchors if anchor.subject == issuer)
        if named:
            yield group, named


def _groups_to_try(groups: EnrollmentGroups, issuer: x509.Name) -> Iterator[EnrollmentGroup]:
    """Yield the groups with a certificate of this name, then (asked for only if needed) those with references."""
    yield from groups.with_signing_certificate(issuer)
    yield from groups.with_ca_references()


def _anchors(ca_certificates: CaCertificates, attestation: Attestation) -> Iterator[EnrolledCertificate]:
    if isinstance(attestation, X509SigningCertificates):
        yield from filter(None, (attestation.primary, attestation.secondary))
        return
    assert isinstance(attestation, X509CaReferences), f"{type(attestation).__name__} names no certificate authority"
    for name in filter(None, (attestation.primary, attestation.secondary)):
        yield from _verified(ca_certificates, name)


def _verified(ca_certificates: CaCertificates, name: str) -> Iterator[EnrolledCertificate]:
    """Yield an uploaded CA certificate once its owner has proven possession.

    Source: concepts-x509-attestation.md (documented).
    """
    try:
        uploaded = ca_certificates.get(name)
    except CertificateNotFound:
        return
    if uploaded.is_verified:
        yield uploaded.enrolled


def _require_valid_now(leaf: x509.Certificate, now: datetime) -> None:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not first <= now.replace(microsecond=0) <= last:
        raise InvalidCertificate(
            f"certificate {subject_of(leaf).rfc4514_string()} is valid from {first.isoformat()} to "
            f"{last.isoformat()}, it is {now.isoformat()}"
        )


def _describe_unknown(
    individual: IndividualEnrollment | None, leaf: x509.Certificate, intermediates: Certificates
) -> str:
    mismatch = f"individual enrollment {individual.name!r} does not know this certificate, and " if individual else ""
    walked = walk_issuers(leaf, intermediates)
    names = [subject_of(each).rfc4514_string() for each in walked]
    return (
        f"{mismatch}no enrollment group trusts an issuer of the presented chain: "
        f"{' <- '.join(names)} <- {issuer_of(walked[-1]).rfc4514_string()} (not presented)"
    )
