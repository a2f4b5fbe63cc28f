"""Reading facts from certificates that somebody else made: one error for all the ways they can be malformed."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)

# What `cryptography` raises for names and extensions: TypeError where the type of a value does not go with its place.
UNDECODABLE = (ValueError, TypeError)


class MalformedCertificate(ValueError):
    """A certificate whose names, validity or extensions cannot be decoded."""


def load_certificate(der: bytes) -> x509.Certificate:
    """Parse one DER certificate; its names, validity and extensions are decoded when they are read.

    A signature is whole bytes: bits left unused would let the same signed certificate have a second thumbprint.

    Raises:
        MalformedCertificate: it is not one.
    """
    try:
        with foreign_encodings():
            certificate = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise MalformedCertificate(f"not a DER certificate: {error}") from error
    except x509.InvalidVersion as error:
        raise MalformedCertificate(f"not an X.509 certificate: version {error.parsed_version}") from error
    # The signature's BIT STRING ends the DER; the byte before its content counts the bits left unused.
    if unused := der[-len(certificate.signature) - 1]:
        raise MalformedCertificate(f"not a DER certificate: its signature leaves {unused} bits unused")
    return certificate


def decode_fields(certificate: x509.Certificate) -> None:
    """Decode the subject, the issuer and the validity, so that whoever reads them later meets no error.

    Raises:
        MalformedCertificate: one of them cannot be decoded.
    """
    with foreign_encodings():
        subject_of(certificate)
        issuer_of(certificate)
    validity_of(certificate)


@contextmanager
def foreign_encodings() -> Iterator[None]:
    """Decode what others encoded without `cryptography` warning the process.

    It warns of names longer than X.520 allows and of serial numbers that are not positive.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def extension_of(certificate: x509.Certificate, extension: type[ExtensionT]) -> ExtensionT | None:
    """Read one extension's value; None when the certificate has no such extension.

    Raises:
        MalformedCertificate: the certificate's extensions cannot be decoded.
    """
    try:
        return certificate.extensions.get_extension_for_class(extension).value
    except x509.ExtensionNotFound:
        return None
    except (*UNDECODABLE, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise MalformedCertificate(f"its extensions cannot be decoded: {error}") from error


def subject_of(certificate: x509.Certificate) -> x509.Name:
    """Read the subject.

    Raises:
        MalformedCertificate: it cannot be decoded.
    """
    try:
        return certificate.subject
    except UNDECODABLE as error:
        raise MalformedCertificate(f"its subject cannot be decoded: {error}") from error


def issuer_of(certificate: x509.Certificate) -> x509.Name:
    """Read the issuer's name.

    Raises:
        MalformedCertificate: it cannot be decoded.
    """
    try:
        return certificate.issuer
    except UNDECODABLE as error:
        raise MalformedCertificate(f"its issuer cannot be decoded: {error}") from error


def validity_of(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Read the first and the last moment of the validity.

    Raises:
        MalformedCertificate: one of them is no date, as in the year 0.
    """
    try:
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError as error:
        raise MalformedCertificate(f"its validity cannot be decoded: {error}") from error


def serial_number_of(certificate: x509.Certificate) -> int:
    """Read the serial number, which others may have made zero or negative."""
    with foreign_encodings():
        return certificate.serial_number


def common_name_of(certificate: x509.Certificate) -> str | None:
    """Read the subject's common name; None when there is none or more than one.

    Raises:
        MalformedCertificate: the subject cannot be decoded.
    """
    return single_common_name(subject_of(certificate))


def single_common_name(name: x509.Name) -> str | None:
    """Pick the only common name of a name; None when there is none or more than one."""
    attributes = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(attributes) != 1:
        return None
    value = attributes[0].value
    return value if isinstance(value, str) else None
