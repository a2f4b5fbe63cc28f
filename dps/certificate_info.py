"""What DPS tells about a certificate: all eight fields, or nothing."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from certs.extensions import serial_number_of
from dps.timestamp import format_timestamp


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """The description that stands beside an enrolled certificate."""

    subject_name: str
    sha1_thumbprint: str
    sha256_thumbprint: str
    issuer_name: str
    not_before_utc: str
    not_after_utc: str
    serial_number: str
    version: int


def describe_certificate(certificate: x509.Certificate) -> CertificateInfo:
    """Describe a certificate; thumbprints and serial number are upper-case hex."""
    return CertificateInfo(
        subject_name=certificate.subject.rfc4514_string(),
        sha1_thumbprint=certificate.fingerprint(SHA1()).hex().upper(),  # noqa: S303 - a name, not a proof
        sha256_thumbprint=certificate.fingerprint(SHA256()).hex().upper(),
        issuer_name=certificate.issuer.rfc4514_string(),
        not_before_utc=format_timestamp(certificate.not_valid_before_utc),
        not_after_utc=format_timestamp(certificate.not_valid_after_utc),
        serial_number=f"{serial_number_of(certificate):X}",
        version=certificate.version.value + 1,
    )


def format_certificate_info(info: CertificateInfo) -> dict[str, str | int]:
    """Write the JSON object; all keys are always there, because the Java client throws when one is missing.

    Source: azure-iot-sdk-java X509RegistrationResultParser (sdk).
    """
    return {
        "subjectName": info.subject_name,
        "sha1Thumbprint": info.sha1_thumbprint,
        "sha256Thumbprint": info.sha256_thumbprint,
        "issuerName": info.issuer_name,
        "notBeforeUtc": info.not_before_utc,
        "notAfterUtc": info.not_after_utc,
        "serialNumber": info.serial_number,
        "version": info.version,
    }
