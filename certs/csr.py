"""Certificate signing requests: the rules one must meet before a CA issues for it."""

import base64
import binascii
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.extensions import UNDECODABLE, foreign_encodings, single_common_name
from certs.keys import PublicKey, key_type_of

# Source: azure-iot-sdk-csharp feature/iot-csr-preview csr-scenarions.md (sdk).
MAX_CSR_CHARACTERS = 8192
MIN_RSA_BITS = 2048
# Above this a signature check costs a millisecond and more. Source: assumed.
MAX_RSA_BITS = 4096
MAX_SUBJECT_IN_MESSAGE = 200
_SIGNATURE_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class CsrReason(Enum):
    """Which rule a CSR broke."""

    NOT_BASE64 = "not base64"
    TOO_LARGE = "too large"
    NOT_PKCS10 = "not PKCS#10"
    BAD_SIGNATURE = "bad signature"
    COMMON_NAME = "common name"
    KEY_REFUSED = "key refused"


class CsrError(ValueError):
    """A CSR that is not signed; the message names the value, the limit and the rule."""

    def __init__(self, reason: CsrReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A CSR that met every rule. `common_name` is spelled as in the CSR; its extensions are not looked at."""

    common_name: str
    public_key: PublicKey
    der: bytes


def decode_csr(text: str) -> bytes:
    """Decode the `csr` member of a request: one line of padded standard base64 over DER.

    Raises:
        CsrError: TOO_LARGE (more than 8,192 characters) or NOT_BASE64 (PEM and line breaks too).

    Source: Microsoft Learn, certificate issuance (documented).
    """
    if len(text) > MAX_CSR_CHARACTERS:
        raise CsrError(
            CsrReason.TOO_LARGE, f"the CSR has {len(text)} characters: at most {MAX_CSR_CHARACTERS} are allowed"
        )
    try:
        der = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise _not_base64(text) from None
    if not der or base64.b64encode(der).decode("ascii") != text:
        raise _not_base64(text)
    return der


def parse_csr(der: bytes, common_name: str, *, strict: bool = False) -> CertificateRequest:
    """Read a DER CSR and hold it against the rules for the device of this name.

    The subject has exactly one common name, equal to `common_name` in any case of its letters. The key is
    P-256, P-384 or P-521, or RSA of 2,048 to 4,096 bits unless `strict`. The signature is by that key, with
    SHA-256 or stronger.

    Raises:
        CsrError: NOT_PKCS10, KEY_REFUSED, COMMON_NAME or BAD_SIGNATURE, checked in this order.

    Source: Microsoft Learn, certificate issuance (documented); key types as Microsoft's samples send them (sdk).
    """
    csr, subject = _load(der)
    public_key = _accepted_key(csr, strict=strict)
    found = single_common_name(subject)
    if found is None or not found.isascii() or found.lower() != common_name.lower():
        given = subject.rfc4514_string()[:MAX_SUBJECT_IN_MESSAGE]
        raise CsrError(
            CsrReason.COMMON_NAME,
            f"the CSR's subject is {given!r}: it must have one CN equal to {common_name!r}",
        )
    _verify_signature(csr)
    return CertificateRequest(found, public_key, der)


def _not_base64(text: str) -> CsrError:
    form = "PEM" if text.startswith("-----") else f"a text of {len(text)} characters"
    return CsrError(CsrReason.NOT_BASE64, f"the CSR is {form}: it must be the DER in one line of standard base64")


def _load(der: bytes) -> tuple[x509.CertificateSigningRequest, x509.Name]:
    try:
        csr = x509.load_der_x509_csr(der)
        with foreign_encodings():
            subject = csr.subject
    except (*UNDECODABLE, x509.InvalidVersion) as error:
        raise CsrError(
            CsrReason.NOT_PKCS10, f"the {len(der)} bytes of the CSR are not a DER PKCS#10 request: {error}"
        ) from error
    return csr, subject


def _accepted_key(csr: x509.CertificateSigningRequest, *, strict: bool) -> PublicKey:
    try:
        key = csr.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CsrError(CsrReason.KEY_REFUSED, f"the CSR's public key cannot be read: {error}") from error
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key_type_of(key) is None:
            raise CsrError(
                CsrReason.KEY_REFUSED, f"the CSR's curve is {key.curve.name}: it must be P-256, P-384 or P-521"
            )
        return key
    if isinstance(key, rsa.RSAPublicKey) and not strict:
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise CsrError(
                CsrReason.KEY_REFUSED,
                f"the CSR's RSA key has {key.key_size} bits: {MIN_RSA_BITS} to {MAX_RSA_BITS} are allowed",
            )
        return key
    accepted = "an EC key" if strict else "an EC or RSA key"
    kind = type(key).__name__.removesuffix("PublicKey")
    raise CsrError(CsrReason.KEY_REFUSED, f"the CSR has a key of type {kind}: it must be {accepted}")


def _verify_signature(csr: x509.CertificateSigningRequest) -> None:
    try:
        strong = isinstance(csr.signature_hash_algorithm, _SIGNATURE_HASHES)
        valid = strong and csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        valid = False
    if not valid:
        algorithm = csr.signature_algorithm_oid.dotted_string
        raise CsrError(
            CsrReason.BAD_SIGNATURE,
            f"the CSR's signature (algorithm {algorithm}) is not by its own key with SHA-256 or stronger",
        )
