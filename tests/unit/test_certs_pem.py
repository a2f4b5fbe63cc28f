"""PEM and base64 DER: what is written is read back, and nothing else is read."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.pem import (
    format_base64_der,
    format_pem,
    format_private_key,
    parse_pem_certificates,
    parse_private_key,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = CertificateAuthority.create_root("root", NOW, key_type=KeyType.P256).certificate
OTHER = CertificateAuthority.create_root("other", NOW, key_type=KeyType.P256).certificate


class TestCertificates:
    def test_are_read_back_in_order(self):
        assert parse_pem_certificates(format_pem(ROOT, OTHER)) == (ROOT, OTHER)

    def test_are_read_from_text_with_notes_between(self):
        text = "Bag Attributes\n" + format_pem(ROOT).decode() + "subject=other\r\n" + format_pem(OTHER).decode()
        assert parse_pem_certificates(text) == (ROOT, OTHER)

    def test_key_in_the_same_file_is_skipped(self):
        text = format_private_key(generate_key(KeyType.P256)) + format_pem(ROOT)
        assert parse_pem_certificates(text) == (ROOT,)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            "",
            "no certificate here",
            format_private_key(generate_key(KeyType.P256)),
            format_pem(ROOT)[:-30],
            format_pem(ROOT).replace(b"MII", b"!!!"),
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n\u00e9\n-----END CERTIFICATE-----\n",
        ],
        ids=["empty", "empty text", "prose", "a key", "cut", "not base64", "not DER", "not ASCII"],
    )
    def test_text_without_a_certificate_is_refused(self, text):
        with pytest.raises(ValueError):
            parse_pem_certificates(text)

    def test_unknown_version_is_refused(self):
        der = ROOT.public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
        pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
        with pytest.raises(ValueError, match="version 7"):
            parse_pem_certificates(pem)

    def test_base64_der_is_one_line_of_the_der(self):
        text = format_base64_der(ROOT)
        assert base64.b64decode(text, validate=True) == ROOT.public_bytes(Encoding.DER)


class TestPrivateKeys:
    @pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048])
    def test_are_read_back(self, key_type):
        key = generate_key(key_type)
        pem = format_private_key(key)
        assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
        assert parse_private_key(pem).private_numbers() == key.private_numbers()
        assert parse_private_key(pem.decode()).private_numbers() == key.private_numbers()

    def test_traditional_forms_are_read(self):
        key = generate_key(KeyType.P256)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        assert parse_private_key(pem).private_numbers() == key.private_numbers()

    def test_encrypted_key_is_refused(self):
        key = generate_key(KeyType.P256)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        with pytest.raises(ValueError, match="unencrypted"):
            parse_private_key(pem)

    def test_key_of_another_kind_is_refused(self):
        key = ed25519.Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(ValueError, match="neither an EC nor an RSA key"):
            parse_private_key(pem)

    def test_message_repeats_nothing_of_the_key(self):
        pem = format_private_key(generate_key(KeyType.P256)).decode()
        secret = pem.splitlines()[1]
        with pytest.raises(ValueError) as caught:
            parse_private_key(pem.replace(secret, secret[:-4]))
        assert secret[:12] not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
