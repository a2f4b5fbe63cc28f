"""Proof of possession of a CA's private key."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.possession import generate_verification_code, refuse_possession

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CODE = generate_verification_code()


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create_root("Factory", NOW, key_type=KeyType.P256)


def proof(ca: CertificateAuthority, *names: str) -> x509.Certificate:
    """What `openssl x509 -req` makes: no extension at all."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    key = generate_key(KeyType.P256)
    builder = x509.CertificateBuilder(ca.certificate.subject, subject, key.public_key(), 7, NOW - DAY, NOW + DAY)
    return builder.sign(ca.key, hashes.SHA256())


def test_codes_are_long_and_never_the_same() -> None:
    codes = {generate_verification_code() for _ in range(9)}
    assert len(codes) == 9
    assert all(len(code) == 48 and code == code.upper() for code in codes)


def test_version_1_certificate_is_proof_too(ca: CertificateAuthority) -> None:
    """As older openssl makes it: the version is left out of the DER."""
    der = proof(ca, CODE).tbs_certificate_bytes
    # SEQUENCE, long length, then [0] EXPLICIT version 3, which version 1 has not.
    header, version = 4 if der[1] == 0x82 else 3, b"\xa0\x03\x02\x01\x02"
    assert der[header:].startswith(version)
    body = der[header + len(version) :]
    signed = b"\x30" + _length(body) + body
    signature = ca.key.sign(signed, ec.ECDSA(hashes.SHA256()))  # type: ignore[call-arg, arg-type]
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    bits = b"\x03" + _length(b"\x00" + signature) + b"\x00" + signature
    whole = signed + algorithm + bits
    version_1 = x509.load_der_x509_certificate(b"\x30" + _length(whole) + whole)
    assert version_1.version is x509.Version.v1
    assert refuse_possession(ca.certificate, CODE, version_1, NOW) is None


def _length(content: bytes) -> bytes:
    size = len(content)
    return bytes((size,)) if size < 128 else bytes((0x81, size)) if size < 256 else b"\x82" + size.to_bytes(2, "big")


def test_certificate_of_the_ca_with_the_code_as_its_name_is_proof(ca: CertificateAuthority) -> None:
    assert refuse_possession(ca.certificate, CODE, proof(ca, CODE), NOW) is None


@pytest.mark.parametrize("names", [(), ("x",), (CODE, CODE), (CODE, "x"), (f"{CODE} ",)])
def test_any_other_name_is_none(ca: CertificateAuthority, names: tuple[str, ...]) -> None:
    assert "is not the verification code" in str(refuse_possession(ca.certificate, CODE, proof(ca, *names), NOW))


def test_namesake_of_the_ca_is_none(ca: CertificateAuthority) -> None:
    namesake = CertificateAuthority.create_root("Factory", NOW, key_type=KeyType.P256)
    assert refuse_possession(ca.certificate, CODE, proof(namesake, CODE), NOW) is not None


def test_expired_proof_is_none(ca: CertificateAuthority) -> None:
    assert "expired" in str(refuse_possession(ca.certificate, CODE, proof(ca, CODE), NOW + 2 * DAY))


def test_ca_itself_is_no_proof(ca: CertificateAuthority) -> None:
    assert refuse_possession(ca.certificate, CODE, ca.certificate, NOW) is not None


def test_name_that_cannot_be_decoded_is_none(ca: CertificateAuthority) -> None:
    der = proof(ca, "aaaa").public_bytes(Encoding.DER).replace(b"aaaa", b"\xff\xff\xff\xff")
    forged = x509.load_der_x509_certificate(der)
    assert "cannot be decoded" in str(refuse_possession(ca.certificate, CODE, forged, NOW))
