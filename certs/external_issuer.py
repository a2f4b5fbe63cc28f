"""An issuing CA that somebody else's CA signs: the request that goes out, and the rules for what comes back."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from certs.extensions import ExtensionT, MalformedCertificate, decode_fields, extension_of
from certs.keys import PrivateKey, key_type_of, signature_hash
from certs.path import issued_by

# Source: concepts-certificate-policy-management.md (documented).
SHORTEST_REMAINING = timedelta(days=365)
REQUIRED_PATH_LENGTH = 1
# Source: assumed.
MAX_CHAIN = 8
_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    }
)


class SignedCaReason(Enum):
    """Which rule a signed CA certificate broke."""

    CHAIN = "chain"
    VERSION = "version"
    KEY = "key"
    SUBJECT = "subject"
    SIGNATURE = "signature"
    BASIC_CONSTRAINTS = "basic constraints"
    KEY_USAGE = "key usage"
    EXTENDED_KEY_USAGE = "extended key usage"
    SUBJECT_KEY_IDENTIFIER = "subject key identifier"
    VALIDITY = "validity"


class SignedCaError(ValueError):
    """A chain that does not activate the CA; the message names the value, the limit and the rule."""

    def __init__(self, reason: SignedCaReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def request_ca_certificate(common_name: str, key: PrivateKey) -> x509.CertificateSigningRequest:
    """Make the PKCS#10 request for a CA certificate; it asks for CA:TRUE with path length 1 and a CA's key usage."""
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=REQUIRED_PATH_LENGTH), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, signature_hash(key))
    )


def check_signed_ca(request: x509.CertificateSigningRequest, chain: Sequence[x509.Certificate], now: datetime) -> None:
    """Hold a signed CA certificate, and the issuers that came with it, against the rules.

    The first certificate is the one that answers `request`, each next one issued the one before it; the root may be
    missing.

    Raises:
        SignedCaError: a rule is broken.

    Source: concepts-certificate-policy-management.md, bring your own root (documented).
    """
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise SignedCaError(
            SignedCaReason.CHAIN, f"the chain has {len(chain)} certificates: 1 to {MAX_CHAIN} are accepted"
        )
    try:
        for certificate in chain:
            decode_fields(certificate)
        for rule in _RULES:
            rule(chain[0], request)
        _check_validity(chain[0], now)
        _check_issuers(chain, now)
    except MalformedCertificate as error:
        raise SignedCaError(SignedCaReason.CHAIN, f"a certificate of the chain is malformed: {error}") from error


def _check_version(certificate: x509.Certificate, _: x509.CertificateSigningRequest) -> None:
    if certificate.version is not x509.Version.v3:
        raise SignedCaError(
            SignedCaReason.VERSION, f"the certificate is X.509 version {certificate.version.value + 1}: it must be 3"
        )


def _check_key(certificate: x509.Certificate, request: x509.CertificateSigningRequest) -> None:
    key = _public_key(certificate)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key_type_of(key) is None:
        kind = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
        raise SignedCaError(
            SignedCaReason.KEY, f"the certificate's key is {kind}: it must be EC on P-256, P-384 or P-521"
        )
    if key != request.public_key():
        raise SignedCaError(SignedCaReason.KEY, "the certificate has another key than the CSR: sign the present CSR")


def _public_key(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:  # an unnamed curve too
        raise SignedCaError(
            SignedCaReason.KEY, f"the certificate's key cannot be read ({error}): it must be EC on a named curve"
        ) from error


def _check_subject(certificate: x509.Certificate, request: x509.CertificateSigningRequest) -> None:
    if certificate.subject != request.subject:
        raise SignedCaError(
            SignedCaReason.SUBJECT,
            f"the certificate's subject is {certificate.subject.rfc4514_string()[:200]!r}: "
            f"it must be the CSR's, {request.subject.rfc4514_string()!r}",
        )


def _check_signature(certificate: x509.Certificate, _: x509.CertificateSigningRequest) -> None:
    algorithm = certificate.signature_algorithm_oid
    if algorithm not in _SIGNATURES:
        raise SignedCaError(
            SignedCaReason.SIGNATURE,
            f"the certificate is signed with algorithm {algorithm.dotted_string}: "
            "it must be ECDSA with SHA-256, SHA-384 or SHA-512",
        )


def _check_basic_constraints(certificate: x509.Certificate, _: x509.CertificateSigningRequest) -> None:
    found = _extension(certificate, x509.BasicConstraints)
    if found is None or not found.value.ca or not found.critical or found.value.path_length != REQUIRED_PATH_LENGTH:
        present = "absent" if found is None else f"{found.value}, critical {found.critical}"
        raise SignedCaError(
            SignedCaReason.BASIC_CONSTRAINTS,
            f"basicConstraints is {present}: it must be critical, CA:TRUE, pathlen:{REQUIRED_PATH_LENGTH}",
        )


def _check_key_usage(certificate: x509.Certificate, _: x509.CertificateSigningRequest) -> None:
    usage = extension_of(certificate, x509.KeyUsage)
    required = {
        "digitalSignature": usage is not None and usage.digital_signature,
        "keyCertSign": usage is not None and usage.key_cert_sign,
        "cRLSign": usage is not None and usage.crl_sign,
    }
    missing = [name for name, is_there in required.items() if not is_there]
    if missing:
        raise SignedCaError(
            SignedCaReason.KEY_USAGE,
            f"keyUsage lacks {', '.join(missing)}: it must have digitalSignature, keyCertSign and cRLSign",
        )


def _check_extended_key_usage(certificate: x509.Certificate, _: x509.CertificateSigningRequest) -> None:
    usage = extension_of(certificate, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise SignedCaError(
            SignedCaReason.EXTENDED_KEY_USAGE, "extendedKeyUsage is present without clientAuth: it must have it"
        )


def _check_subject_key_identifier(certificate: x509.Certificate, _: x509.CertificateSigningRequest) -> None:
    if extension_of(certificate, x509.SubjectKeyIdentifier) is None:
        raise SignedCaError(SignedCaReason.SUBJECT_KEY_IDENTIFIER, "subjectKeyIdentifier is absent: it must be there")


_Rule = Callable[[x509.Certificate, x509.CertificateSigningRequest], None]
_RULES: tuple[_Rule, ...] = (
    _check_version,
    _check_key,
    _check_subject,
    _check_signature,
    _check_basic_constraints,
    _check_key_usage,
    _check_extended_key_usage,
    _check_subject_key_identifier,
)


def _extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> x509.Extension[ExtensionT] | None:
    if extension_of(certificate, kind) is None:
        return None
    return certificate.extensions.get_extension_for_class(kind)


def _check_validity(certificate: x509.Certificate, now: datetime) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < first:
        raise SignedCaError(SignedCaReason.VALIDITY, f"the certificate is not valid before {first}; it is {now}")
    if last - now < SHORTEST_REMAINING:
        raise SignedCaError(
            SignedCaReason.VALIDITY,
            f"the certificate is valid until {last}, {(last - now).days} days from now: "
            f"at least {SHORTEST_REMAINING.days} must be left",
        )


def _check_issuers(chain: Sequence[x509.Certificate], now: datetime) -> None:
    for below, issuer in pairwise(chain):
        name = issuer.subject.rfc4514_string()[:200]
        constraints = extension_of(issuer, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise SignedCaError(SignedCaReason.CHAIN, f"{name!r} of the chain is not a CA (no CA:TRUE)")
        if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
            raise SignedCaError(
                SignedCaReason.CHAIN,
                f"{name!r} of the chain is valid from {issuer.not_valid_before_utc} to {issuer.not_valid_after_utc}; "
                f"it is {now}",
            )
        if not issued_by(below, issuer):
            raise SignedCaError(
                SignedCaReason.CHAIN,
                f"{below.subject.rfc4514_string()[:200]!r} of the chain was not issued by {name!r}, which follows it",
            )
