"""Certification path validation: from a presented leaf to a trust anchor, or the exact reason why not.

The verification is `cryptography`'s; around it stand a cheap search that picks the certificates worth verifying
and, after a failure, a look at each rule in turn to say which certificate broke it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from certs.extensions import MalformedCertificate, extension_of, issuer_of, subject_of

# A chain of 3 is usual; each one costs a hostile client nothing and us up to a millisecond. Source: assumed.
MAX_INTERMEDIATES = 8
MAX_DETAIL = 200


@dataclass(frozen=True, slots=True)
class ValidPath:
    """A verified chain: leaf first, the trust anchor last."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def anchor(self) -> x509.Certificate:
        """The trust anchor that the chain ends at."""
        return self.certificates[-1]


class PathError(Enum):
    """Why a chain is not valid."""

    UNKNOWN_ISSUER = "unknown issuer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    BAD_SIGNATURE = "bad signature"
    NOT_A_CA = "not a CA"
    UNSUITABLE = "unsuitable"


@dataclass(frozen=True, slots=True)
class PathRefusal:
    """A chain that is not valid; `detail` names the certificate (subject, serial) and the rule, for people."""

    error: PathError
    detail: str


def validate_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> ValidPath | PathRefusal:
    """Verify the chain from a leaf to one of the trust anchors at a time, as RFC 5280 §6 says.

    Anchors may be roots or intermediates; they must be valid CAs at `now` themselves. The intermediates may come
    in any order and hold others that do not belong to the chain; more than 8 are refused. CAs need not follow the
    profile in the criticality of extensions or in key identifiers; the leaf needs no SAN. An extended key usage,
    where there is one, must allow client authentication. No revocation list is looked at. Never raises: whatever
    cannot be decoded is UNSUITABLE.

    Source: Microsoft Learn, X.509 CA authentication (documented); what of the CA profile is forgiven is assumed.
    """
    if len(intermediates) > MAX_INTERMEDIATES:
        detail = f"{len(intermediates)} intermediates were presented: at most {MAX_INTERMEDIATES} are looked at"
        return PathRefusal(PathError.UNSUITABLE, detail)
    now = now.replace(microsecond=0)
    try:
        return _outside_validity(leaf, now) or _validate(leaf, intermediates, anchors, now)
    except MalformedCertificate as error:
        return PathRefusal(PathError.UNSUITABLE, f"a presented certificate is malformed: {error}"[:MAX_DETAIL])


def walk_issuers(leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Follow issuers from a leaf through what was presented with it: leaf, its issuer, the issuer's issuer…

    By name and key identifier only: nothing is verified. No certificate comes twice; at most 8 follow the leaf.

    Raises:
        MalformedCertificate: a name cannot be decoded.
    """
    walked = [leaf]
    while len(walked) <= MAX_INTERMEDIATES:
        issuers = (one for one in intermediates if one not in walked and _may_have_issued(one, walked[-1]))
        issuer = next(issuers, None)
        if issuer is None:
            break
        walked.append(issuer)
    return tuple(walked)


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the certificate names this issuer and is signed with its key; no other rule is checked."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _validate(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> ValidPath | PathRefusal:
    if leaf in anchors:
        return PathRefusal(PathError.UNSUITABLE, f"{_describe(leaf)} is a trust anchor: it cannot be the leaf too")
    below, reached = _search(leaf, intermediates, anchors)
    if not reached:
        return _unknown_issuer(below[-1].certificate, (*intermediates, *anchors))
    try:
        chain = _verify(leaf, below, reached, now)
    except (VerificationError, ValueError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType) as error:
        unsuitable = PathRefusal(PathError.UNSUITABLE, str(error)[:MAX_DETAIL])
        return _fault(reached[0].path(), now) or unsuitable
    return ValidPath(chain)


# --- the search: which certificates could lie on a path, by name and key identifier


@dataclass(frozen=True, slots=True)
class _Step:
    """A certificate that the search reached, and the one whose issuer it may be."""

    certificate: x509.Certificate
    below: "_Step | None" = None

    def path(self) -> tuple[x509.Certificate, ...]:
        """The certificates from the leaf up to this one."""
        if self.below is None:
            return (self.certificate,)
        return (*self.below.path(), self.certificate)


def _search(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> tuple[list[_Step], list[_Step]]:
    """Walk breadth first, each certificate once: the leaf and the intermediates reached, and the anchors reached."""
    below = [_Step(leaf)]
    reached: list[_Step] = []
    unseen_anchors = list(anchors)
    unseen = [one for one in intermediates if one not in unseen_anchors and one != leaf]
    for step in below:  # grows while it is walked
        reached += _take_issuers(step, unseen_anchors)
        below += _take_issuers(step, unseen)
    return below, reached


def _take_issuers(step: _Step, unseen: list[x509.Certificate]) -> list[_Step]:
    found = [one for one in unseen if _may_have_issued(one, step.certificate)]
    for one in found:
        unseen.remove(one)
    return [_Step(one, step) for one in found]


def _may_have_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if subject_of(issuer) != issuer_of(certificate):
        return False
    wanted, present = _authority_key_identifier(certificate), _subject_key_identifier(issuer)
    return wanted is None or present is None or wanted == present


def _authority_key_identifier(certificate: x509.Certificate) -> bytes | None:
    # Identifiers are hints: a certificate with other extensions that this parser refuses still has its chance.
    try:
        value = extension_of(certificate, x509.AuthorityKeyIdentifier)
    except MalformedCertificate:
        return None
    return value.key_identifier if value else None


def _subject_key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        value = extension_of(certificate, x509.SubjectKeyIdentifier)
    except MalformedCertificate:
        return None
    return value.digest if value else None


# --- the verification


def _require_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("basic constraints say CA:FALSE")


def _require_certificate_signing(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("key usage lacks keyCertSign")


def _require_client_authentication(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _CLIENT_USAGES.intersection(usage):
        raise ValueError("extended key usage lacks clientAuth")


_CLIENT_USAGES = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_LEAF_POLICY = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_client_authentication
)
_CA_POLICY = _LEAF_POLICY.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _require_ca).may_be_present(
    x509.KeyUsage, Criticality.AGNOSTIC, _require_certificate_signing
)
_POLICY = (
    PolicyBuilder().max_chain_depth(MAX_INTERMEDIATES).extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
)


def _verify(
    leaf: x509.Certificate, below: list[_Step], reached: list[_Step], now: datetime
) -> tuple[x509.Certificate, ...]:
    store = Store([step.certificate for step in reached])
    verifier = _POLICY.time(now).store(store).build_client_verifier()
    return tuple(verifier.verify(leaf, [step.certificate for step in below[1:]]).chain)


# --- the diagnosis: which rule was broken, by which certificate


def _outside_validity(certificate: x509.Certificate, now: datetime) -> PathRefusal | None:
    if now > (last := certificate.not_valid_after_utc):
        return PathRefusal(PathError.EXPIRED, f"{_describe(certificate)} expired at {last}; it is {now}")
    if now < (first := certificate.not_valid_before_utc):
        detail = f"{_describe(certificate)} is not valid before {first}; it is {now}"
        return PathRefusal(PathError.NOT_YET_VALID, detail)
    return None


def _unknown_issuer(last: x509.Certificate, known: Sequence[x509.Certificate]) -> PathRefusal:
    issuer = issuer_of(last)
    detail = f"{_describe(last)} was issued by {_name(issuer)}, which is neither trusted nor was presented"
    if any(subject_of(one) == issuer for one in known if one != last):
        detail = f"{_describe(last)} was issued by {_name(issuer)}, but with another key than the known CA's"
    return PathRefusal(PathError.UNKNOWN_ISSUER, detail)


def _fault(path: tuple[x509.Certificate, ...], now: datetime) -> PathRefusal | None:
    for certificate in path:
        if refusal := _outside_validity(certificate, now):
            return refusal
    if path[0].version is not x509.Version.v3:
        detail = f"{_describe(path[0])} is an X.509 version 1 certificate: version 3 is required"
        return PathRefusal(PathError.UNSUITABLE, detail)
    for depth, issuer in enumerate(path[1:]):
        if refusal := _unfit_issuer(issuer, path[1 : 1 + depth]):
            return refusal
    for certificate, issuer in pairwise(path):
        if not issued_by(certificate, issuer):
            detail = f"the signature of {_describe(certificate)} is not by {_describe(issuer)}"
            return PathRefusal(PathError.BAD_SIGNATURE, detail)
    return None


def _unfit_issuer(issuer: x509.Certificate, between: tuple[x509.Certificate, ...]) -> PathRefusal | None:
    constraints = extension_of(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return PathRefusal(PathError.NOT_A_CA, f"{_describe(issuer)} is not a CA (no CA:TRUE)")
    usage = extension_of(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return PathRefusal(PathError.NOT_A_CA, f"{_describe(issuer)} is not a CA (key usage lacks keyCertSign)")
    length = sum(1 for one in between if subject_of(one) != issuer_of(one))
    if constraints.path_length is not None and length > constraints.path_length:
        detail = f"{_describe(issuer)} has {length} CAs below it: its path length allows {constraints.path_length}"
        return PathRefusal(PathError.UNSUITABLE, detail)
    return None


def _describe(certificate: x509.Certificate) -> str:
    return f"{_name(subject_of(certificate))} (serial {certificate.serial_number:x})"


def _name(name: x509.Name) -> str:
    return repr(name.rfc4514_string()[:MAX_DETAIL])
