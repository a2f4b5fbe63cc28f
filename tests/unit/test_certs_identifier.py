"""The device identifier in a certificate's alternative names."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from certs.identifier import device_identifier, format_identifier, parse_identifier
from certs.keys import KeyType, generate_key, signature_hash

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
IDENTIFIER = UUID("b1e02da8-1111-4222-8333-000000000001")
URI = "urn:uuid:b1e02da8-1111-4222-8333-000000000001"
KEY = generate_key(KeyType.P256)


def certificate_with(*extensions: x509.ExtensionType) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor-001")])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 7, NOW, NOW + timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, signature_hash(KEY))


def names(*values: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(values)


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


def test_identifier_is_written_and_read_back():
    assert format_identifier(IDENTIFIER) == URI
    assert parse_identifier(URI) == IDENTIFIER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "urn:uuid:",
        str(IDENTIFIER),
        URI.upper(),
        URI.replace("-", ""),
        "urn:uuid:{b1e02da8-1111-4222-8333-000000000001}",
        "urn:uuid:urn:uuid:b1e02da8-1111-4222-8333-000000000001",
        URI + "0",
        "https://example.com/",
    ],
)
def test_other_spelling_is_no_identifier(text):
    assert parse_identifier(text) is None


def test_identifier_is_found_among_other_names():
    certificate = certificate_with(names(x509.DNSName("a.example"), uri("https://a.example/"), uri(URI)))
    assert device_identifier(certificate) == IDENTIFIER


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([], id="no alternative names"),
        pytest.param([names(x509.DNSName(URI))], id="as a DNS name"),
        pytest.param([names(uri("urn:uuid:b1e02da8"))], id="malformed"),
        pytest.param([names(uri(URI), uri(format_identifier(UUID(int=7))))], id="two"),
        pytest.param([names(uri(URI), uri(URI))], id="twice the same"),
        pytest.param(
            [x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x82\x01\xff")],
            id="undecodable",
        ),
    ],
)
def test_certificate_without_exactly_one_identifier_has_none(extensions):
    assert device_identifier(certificate_with(*extensions)) is None
