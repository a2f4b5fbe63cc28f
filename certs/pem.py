"""Certificates and private keys as text: PEM, and the single-line base64 DER of the Azure APIs."""

import base64

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certs.extensions import decode_fields
from certs.keys import PrivateKey


def format_pem(*certificates: x509.Certificate) -> bytes:
    """Write certificates one after the other as PEM, in the order given."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def parse_pem_certificates(text: str | bytes) -> tuple[x509.Certificate, ...]:
    """Read every certificate of a PEM text, in its order; what stands between the blocks is skipped.

    Raises:
        ValueError: there is no certificate in it, or one of them cannot be parsed.
    """
    pem = text.encode() if isinstance(text, str) else text
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
    except x509.InvalidVersion as error:
        raise ValueError(f"not an X.509 certificate: version {error.parsed_version}") from error
    except ValueError as error:
        raise ValueError("not certificates in PEM") from error
    for certificate in certificates:
        decode_fields(certificate)
    return certificates


def format_private_key(key: PrivateKey) -> bytes:
    """Write a private key as unencrypted PKCS#8 PEM; only for files of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def parse_private_key(pem: str | bytes) -> PrivateKey:
    """Read an unencrypted EC or RSA private key in PEM (PKCS#8, SEC 1 or PKCS#1).

    Raises:
        ValueError: it is no such key; the message never repeats any of the text.
    """
    try:
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not an unencrypted private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"a {type(key).__name__} is neither an EC nor an RSA key")  # noqa: TRY004 - the text's fault
    return key


def format_base64_der(certificate: x509.Certificate) -> str:
    """Write a certificate as one line of standard base64, as `issuedCertificateChain` carries it.

    Source: azure-rest-api-specs DPS device models (documented).
    """
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")
