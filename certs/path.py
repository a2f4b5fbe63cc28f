"""Certification path validation: from a presented leaf to a trust anchor, or the exact reason why not.

The verification is `cryptography`'s. Around it stand a search that puts presented certificates in a chain by their
names, and the rules that cost no signature check, so that a refusal names the certificate and the rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from itertools import islice, pairwise

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

from certs.extensions import (
    UNDECODABLE,
    MalformedCertificate,
    extension_of,
    foreign_encodings,
    issuer_of,
    serial_number_of,
    subject_of,
    validity_of,
)

# A chain of 3 is usual. Source: assumed.
MAX_INTERMEDIATES = 8
# Chains tried when names are ambiguous: each costs a hostile client nothing and us one signature check that fails.
MAX_PATHS = 8
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
    profile in the criticality of extensions or in key identifiers; the leaf needs no SAN. A path length counts every
    CA below, self-issued ones too. An extended key usage, where there is one, must allow client authentication. No
    revocation list is looked at. Never raises: whatever cannot be decoded is UNSUITABLE.

    Source: Microsoft Learn, X.509 CA authentication (documented); what of the CA profile is forgiven is assumed.
    """
    if len(intermediates) > MAX_INTERMEDIATES:
        detail = f"{len(intermediates)} intermediates were presented: at most {MAX_INTERMEDIATES} are looked at"
        return PathRefusal(PathError.UNSUITABLE, detail)
    now = now.replace(microsecond=0)
    try:
        with foreign_encodings():
            return outside_validity(leaf, now) or _validate(leaf, intermediates, anchors, now)
    except MalformedCertificate as error:
        return PathRefusal(PathError.UNSUITABLE, f"a presented certificate is malformed: {error}"[:MAX_DETAIL])


def walk_issuers(leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Follow issuers from a leaf through what was presented with it: leaf, its issuer, the issuer's issuer…

    By name and key identifier only: nothing is verified. No certificate comes twice; at most 8 follow the leaf.

    Raises:
        MalformedCertificate: a name cannot be decoded.
    """
    walked = [leaf]
    with foreign_encodings():
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
    refusal = None
    for path in islice(_paths((leaf,), intermediates, anchors), MAX_PATHS):
        result = _verify(path, now, explain=refusal is None)
        if isinstance(result, ValidPath):
            return result
        refusal = refusal or result
    return refusal or _unknown_issuer(leaf, intermediates, anchors)


# --- the search: chains that fit together by name and key identifier


def _paths(
    walked: tuple[x509.Certificate, ...],
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
) -> Iterator[tuple[x509.Certificate, ...]]:
    """Continue a chain to every anchor it can reach, nearest anchors first, with no two intermediates of one name.

    One name comes once so that the verifier, which goes by names, has nothing to search in what it is given.
    """
    last = walked[-1]
    yield from ((*walked, anchor) for anchor in anchors if _may_have_issued(anchor, last))
    for one in intermediates:
        if one not in anchors and _may_have_issued(one, last) and not _names(walked[1:], subject_of(one)):
            yield from _paths((*walked, one), intermediates, anchors)


def _names(certificates: Sequence[x509.Certificate], subject: x509.Name) -> bool:
    return any(subject_of(one) == subject for one in certificates)


def _may_have_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if subject_of(issuer) != issuer_of(certificate) or _is_self_signed(certificate):
        return False
    return _keys_agree(issuer, certificate)


def _is_self_signed(certificate: x509.Certificate) -> bool:
    return subject_of(certificate) == issuer_of(certificate) and _keys_agree(certificate, certificate)


def _keys_agree(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
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


def _require_client_authentication(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _CLIENT_USAGES.intersection(usage):
        raise ValueError("extended key usage lacks clientAuth")


_CLIENT_USAGES = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_LEAF_POLICY = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_client_authentication
)
_CA_POLICY = _LEAF_POLICY.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
_POLICY = (
    PolicyBuilder().max_chain_depth(MAX_INTERMEDIATES).extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
)


@lru_cache(maxsize=256)
def _store_of(anchor: x509.Certificate) -> Store:
    # Nothing but a remembered value: the store decodes the anchor's key once (95 of 650 µs, P-384).
    return Store([anchor])


def _verify(path: tuple[x509.Certificate, ...], now: datetime, *, explain: bool) -> ValidPath | PathRefusal:
    """Verify one chain: first the rules that cost nothing, then signatures from the anchor down, then the rest.

    The verifier goes up from the leaf: a forger's chain would have its own signatures checked, by keys that the forger
    chose to be slow, before the first one fails. `explain` looks for the bad signature after a failure, which costs the
    checks a second time.
    """
    leaf, *intermediates, anchor = path
    if refusal := _unfit_path(path, now) or _unsigned_intermediate(path):
        return refusal
    verifier = _POLICY.time(now).store(_store_of(anchor)).build_client_verifier()
    try:
        return ValidPath(tuple(verifier.verify(leaf, intermediates).chain))
    except (VerificationError, *UNDECODABLE, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType) as error:
        unsuitable = f"{_describe(leaf)} has no valid path: {str(error)[:MAX_DETAIL]}"
    for certificate, issuer in pairwise(path) if explain else ():
        if refusal := _unsigned(certificate, issuer):
            return refusal
    return PathRefusal(PathError.UNSUITABLE, unsuitable)


def _unfit_path(path: tuple[x509.Certificate, ...], now: datetime) -> PathRefusal | None:
    if path[0].version is not x509.Version.v3:
        detail = f"{_describe(path[0])} is an X.509 version 1 certificate: version 3 is required"
        return PathRefusal(PathError.UNSUITABLE, detail)
    for below, issuer in enumerate(path[1:]):
        if refusal := outside_validity(issuer, now) or _unfit_issuer(issuer, below):
            return refusal
    return None


def _unfit_issuer(issuer: x509.Certificate, below: int) -> PathRefusal | None:
    constraints = extension_of(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return PathRefusal(PathError.NOT_A_CA, f"{_describe(issuer)} is not a CA (no CA:TRUE)")
    usage = extension_of(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return PathRefusal(PathError.NOT_A_CA, f"{_describe(issuer)} is not a CA (key usage lacks keyCertSign)")
    allowed = constraints.path_length
    if allowed is not None and below > allowed:
        detail = f"{_describe(issuer)} has {below} CAs below it: its path length allows {allowed}"
        return PathRefusal(PathError.UNSUITABLE, detail)
    return None


def _unsigned_intermediate(path: tuple[x509.Certificate, ...]) -> PathRefusal | None:
    for issuer, certificate in pairwise(reversed(path[1:])):
        if refusal := _unsigned(certificate, issuer):
            return refusal
    return None


@lru_cache(maxsize=256)
def _verify_signature(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    # Nothing but remembered successes (what raises is not remembered): a fleet presents one intermediate all the time.
    certificate.verify_directly_issued_by(issuer)


def _unsigned(certificate: x509.Certificate, issuer: x509.Certificate) -> PathRefusal | None:
    try:
        _verify_signature(certificate, issuer)
    except InvalidSignature:
        detail = f"the signature of {_describe(certificate)} is not by the key of {_describe(issuer)}"
        return PathRefusal(PathError.BAD_SIGNATURE, detail)
    except (UnsupportedAlgorithm, ValueError, TypeError) as error:
        detail = f"the signature of {_describe(certificate)} cannot be checked: {error}"
        return PathRefusal(PathError.UNSUITABLE, detail)
    return None


def outside_validity(certificate: x509.Certificate, now: datetime) -> PathRefusal | None:
    """Say that a certificate has expired or is not valid yet, if so.

    Raises:
        MalformedCertificate: its validity cannot be decoded.
    """
    first, last = validity_of(certificate)
    if now > last:
        return PathRefusal(PathError.EXPIRED, f"{_describe(certificate)} expired at {last}; it is {now}")
    if now < first:
        detail = f"{_describe(certificate)} is not valid before {first}; it is {now}"
        return PathRefusal(PathError.NOT_YET_VALID, detail)
    return None


def _unknown_issuer(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> PathRefusal:
    last = walk_issuers(leaf, intermediates)[-1]
    issuer = issuer_of(last)
    if _is_self_signed(last):
        return PathRefusal(PathError.UNKNOWN_ISSUER, f"{_describe(last)} is self-signed and not trusted")
    reason = "which is neither trusted nor was presented"
    if _names((*intermediates, *anchors), issuer):
        reason = "but with another key than the CA of that name has"
    return PathRefusal(PathError.UNKNOWN_ISSUER, f"{_describe(last)} was issued by {_name(issuer)}, {reason}")


def _describe(certificate: x509.Certificate) -> str:
    return f"{_name(subject_of(certificate))} (serial {serial_number_of(certificate):x})"


def _name(name: x509.Name) -> str:
    return repr(name.rfc4514_string()[:MAX_DETAIL])
