"""Reading facts from foreign certificates: one error for every malformation."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

from certs.extensions import (
    MalformedCertificate,
    common_name_of,
    decode_fields,
    extension_of,
    issuer_of,
    load_certificate,
    serial_number_of,
    single_common_name,
    subject_of,
    validity_of,
)
from certs.keys import KeyType, generate_key, signature_hash

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = generate_key(KeyType.P256)
CA = x509.BasicConstraints(ca=True, path_length=None)
# From 2050 on dates have four digits for the year (RFC 5280 4.1.2.5).
IN_2050 = datetime(2050, 11, 23, 12, tzinfo=UTC)


def name_of(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common_names])


NAME = name_of("sensor-001")


def der_with(*extensions: x509.ExtensionType) -> bytes:
    builder = x509.CertificateBuilder(
        name_of("issuer"), name_of("sensor-001"), KEY.public_key(), 7, NOW, NOW + timedelta(days=1)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, signature_hash(KEY)).public_bytes(Encoding.DER)


def test_certificate_is_loaded():
    assert load_certificate(der_with()).serial_number == 7


@pytest.mark.parametrize("der", [b"", b"x", der_with()[:-1], der_with() + b"\0"])
def test_bytes_that_are_no_certificate(der):
    with pytest.raises(MalformedCertificate, match="not a DER certificate"):
        load_certificate(der)


def test_unknown_version():
    der = der_with().replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    with pytest.raises(MalformedCertificate, match="version 5"):
        load_certificate(der)


def test_extension_is_read():
    assert extension_of(load_certificate(der_with(CA)), x509.BasicConstraints) == CA


def test_missing_extension_is_none():
    assert extension_of(load_certificate(der_with(CA)), x509.KeyUsage) is None


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\xff")], id="undecodable"),
        pytest.param(
            [x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x04\xa3\x02\x30\x00")],
            id="x400 address",
        ),
        pytest.param(
            [
                x509.UnrecognizedExtension(
                    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
                    bytes.fromhex("3012a410300e310c300a06035504030303006162"),
                )
            ],
            id="common name that is a BIT STRING",
        ),
        pytest.param([x509.UnrecognizedExtension(ExtensionOID.TLS_FEATURE, b"\x30\x00")], id="no TLS feature"),
    ],
)
def test_undecodable_extension(extensions):
    with pytest.raises(MalformedCertificate, match="extensions"):
        extension_of(load_certificate(der_with(*extensions)), x509.BasicConstraints)


def test_extension_twice():
    der = der_with(CA, x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00"))
    der = der.replace(b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x13")
    with pytest.raises(MalformedCertificate, match="extensions"):
        extension_of(load_certificate(der), x509.BasicConstraints)


def test_names_are_read():
    certificate = load_certificate(der_with())
    assert subject_of(certificate) == name_of("sensor-001")
    assert issuer_of(certificate) == name_of("issuer")
    assert common_name_of(certificate) == "sensor-001"


@pytest.mark.parametrize(
    ("which", "good", "bad"),
    [("subject", b"sensor-001", b"sensor-\xff\xff1"), ("issuer", b"issuer", b"issu\xff\xff")],
)
def test_undecodable_name(which, good, bad):
    der = der_with().replace(good, bad)
    certificate = load_certificate(der)
    for read in (decode_fields, {"subject": common_name_of, "issuer": issuer_of}[which]):
        with pytest.raises(MalformedCertificate, match=which):
            read(certificate)


def test_attribute_whose_string_type_is_not_its_own_makes_the_name_undecodable():
    """A UTF8String turned into a BIT STRING: `cryptography` raises a TypeError for it."""
    der = der_with().replace(b"\x0c\x0asensor-001", b"\x03\x0a\x00ensor-001")
    with pytest.raises(MalformedCertificate, match="subject"):
        decode_fields(load_certificate(der))


def test_validity_that_is_no_date_is_undecodable():
    """There was no year 0: `cryptography` takes the certificate, and raises a ValueError when its dates are read."""
    builder = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 7, IN_2050, IN_2050)
    der = builder.sign(KEY, signature_hash(KEY)).public_bytes(Encoding.DER).replace(b"20501123", b"00001123", 1)
    for read in (validity_of, decode_fields):
        with pytest.raises(MalformedCertificate, match="validity"):
            read(load_certificate(der))


def test_signature_with_unused_bits_is_not_the_same_certificate_twice():
    """One signed certificate has one encoding, so one thumbprint."""
    der = next(der for der in map(der_with_serial, range(1, 99)) if der[-1] % 2 == 0)
    length = len(load_certificate(der).signature)
    with pytest.raises(MalformedCertificate, match="leaves 1 bits unused"):
        load_certificate(der[: -length - 1] + b"\x01" + der[-length:])


@pytest.mark.parametrize("serial", [b"\x00", b"\x87"])
def test_serial_number_that_is_not_positive_is_read_without_a_warning(serial):
    """RFC 5280 4.1.2.2: users should be prepared to handle such certificates gracefully."""
    der = der_with_serial(7).replace(b"\x02\x01\x07", b"\x02\x01" + serial, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert serial_number_of(load_certificate(der)) <= 0


def der_with_serial(serial: int) -> bytes:
    name = name_of("sensor-001")
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), serial, NOW, NOW + timedelta(days=1))
    return builder.sign(KEY, signature_hash(KEY)).public_bytes(Encoding.DER)


def der_named(common_name: str) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 7, NOW, NOW + timedelta(days=1))
    return builder.sign(KEY, signature_hash(KEY)).public_bytes(Encoding.DER)


@pytest.mark.parametrize("common_name", ["", "x" * 65])
def test_name_of_a_length_that_x520_forbids_is_read_without_a_warning(common_name):
    with pytest.warns(UserWarning, match="length"):
        der = der_named(common_name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = load_certificate(der)
        decode_fields(certificate)
        assert common_name_of(certificate) == common_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (name_of("sensor-001"), "sensor-001"),
        (name_of(), None),
        (name_of("sensor-001", "sensor-002"), None),
        (x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sensor-001")]), None),
    ],
    ids=["one", "none", "two", "organization"],
)
def test_only_a_single_common_name_counts(name, expected):
    assert single_common_name(name) == expected
