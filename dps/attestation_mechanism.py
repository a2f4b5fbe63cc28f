"""What an enrollment holds to recognise its devices by: keys, certificates or the names of CA certificates."""

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.extensions import decode_fields, load_certificate
from certs.pem import parse_pem_certificates
from dps.errors import BadRequest

MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64


class AttestationType(StrEnum):
    """The `type` of an attestation mechanism; `tpm` needs HTTPS or AMQP and is not offered."""

    X509 = "x509"
    SYMMETRIC_KEY = "symmetricKey"


@dataclass(frozen=True, slots=True)
class SymmetricKeyAttestation:
    """Two keys, base64: of one device in an individual enrollment, to derive device keys from in a group."""

    primary_key: str = field(repr=False)
    secondary_key: str = field(repr=False)

    @property
    def keys(self) -> tuple[str, str]:
        """Primary, then secondary."""
        return self.primary_key, self.secondary_key


@dataclass(frozen=True)
class EnrolledCertificate:
    """A certificate an enrollment names, as DER."""

    der: bytes

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return x509.load_der_x509_certificate(self.der)

    @cached_property
    def subject(self) -> x509.Name:
        """The certificate's subject."""
        return self.certificate.subject

    @cached_property
    def sha256_thumbprint(self) -> str:
        """Upper-case hex SHA-256."""
        return hashlib.sha256(self.der).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class X509ClientCertificates:
    """The leaf certificates of one device."""

    primary: EnrolledCertificate
    secondary: EnrolledCertificate | None = None


@dataclass(frozen=True, slots=True)
class X509SigningCertificates:
    """The CA certificates, root or intermediate, that sign the devices of a group."""

    primary: EnrolledCertificate
    secondary: EnrolledCertificate | None = None


@dataclass(frozen=True, slots=True)
class X509CaReferences:
    """Names of CA certificates of this DPS; only verified ones count."""

    primary: str
    secondary: str | None = None


Attestation = SymmetricKeyAttestation | X509ClientCertificates | X509SigningCertificates | X509CaReferences


def attestation_type(attestation: Attestation) -> AttestationType:
    """Return the mechanism's `type` on the wire."""
    match attestation:
        case SymmetricKeyAttestation():
            return AttestationType.SYMMETRIC_KEY
        case _:
            return AttestationType.X509


def generate_key() -> str:
    """Make a symmetric key the way the service does when an enrollment brings none: 64 random bytes, base64."""
    return base64.b64encode(secrets.token_bytes(MAX_KEY_BYTES)).decode()


def check_key(name: str, key: str) -> None:
    """Check a symmetric key: base64 of 16 to 64 bytes.

    Raises:
        BadRequest: it is not; the message does not show the key.

    Source: concepts-symmetric-key-attestation.md (documented); the range is assumed.
    """
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        raise BadRequest(f"{name} is not base64") from None
    if not MIN_KEY_BYTES <= size <= MAX_KEY_BYTES:
        raise BadRequest(f"{name} has {size} bytes; it must have {MIN_KEY_BYTES} to {MAX_KEY_BYTES}")


def parse_enrolled_certificate(name: str, text: str) -> EnrolledCertificate:
    """Read a certificate that is written as PEM or as bare base64 of DER.

    Raises:
        BadRequest: it is neither, or holds no certificate, or more than one.

    Source: azure-iot-sdk-csharp provisioning/service (sdk).
    """
    try:
        if "-----BEGIN" in text:
            (certificate,) = parse_pem_certificates(text)
        else:
            certificate = load_certificate(base64.b64decode("".join(text.split()), validate=True))
            decode_fields(certificate)
    except ValueError:
        raise BadRequest(f"{name} is not one certificate as PEM or base64 DER") from None
    return EnrolledCertificate(certificate.public_bytes(Encoding.DER))
