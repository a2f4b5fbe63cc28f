"""Certificates that anybody can make: whatever DER stands in a name, a date or an extension, nothing raises.

They are signed, so that no rule is spared because the signature fails first.
"""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from certs.extensions import MalformedCertificate, load_certificate
from certs.identifier import device_identifier
from certs.path import PathRefusal, ValidPath, validate_path, walk_issuers
from certs.peer import PeerChain

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
COMMON_NAME = "2.5.4.3"
NAME_OIDS = (COMMON_NAME, "2.5.4.6", "2.5.4.45", "0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1", "1.2.3")
EXTENSION_OIDS = (
    *(f"2.5.29.{number}" for number in (14, 15, 17, 18, 19, 30, 31, 32, 35, 36, 37, 54)),
    *(f"1.3.6.1.5.5.7.1.{number}" for number in (1, 11, 24)),
    "1.2.3",
)
STRING_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x0C, 0x13, 0x14, 0x16, 0x1C, 0x1E, 0x30, 0x80)


def der(tag: int, *contents: bytes) -> bytes:
    """One TLV of up to 65,535 bytes, its length in the shortest form."""
    content = b"".join(contents)
    size = len(content)
    length = bytes((size,)) if size < 128 else bytes((0x81, size)) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return bytes((tag,)) + length + content


def sequence(*contents: bytes) -> bytes:
    return der(0x30, *contents)


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray((first * 40 + second,))
    for arc in rest:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return der(0x06, bytes(content))


def attribute(which: str, tag: int, value: bytes) -> bytes:
    return der(0x31, sequence(oid(which), der(tag, value)))


SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
ECDSA = sequence(oid("1.2.840.10045.4.3.2"))
DEVICE = sequence(attribute(COMMON_NAME, 0x0C, b"dev1"))
ROOT = sequence(attribute(COMMON_NAME, 0x0C, b"root"))
DATES = (der(0x17, b"261101000000Z"), der(0x17, b"271101000000Z"))
IS_CA = sequence(oid("2.5.29.19"), b"\x01\x01\xff", der(0x04, sequence(b"\x01\x01\xff")))


def certificate(
    subject: bytes = DEVICE,
    issuer: bytes = ROOT,
    dates: tuple[bytes, bytes] = DATES,
    extensions: tuple[bytes, ...] = (),
    serial: bytes = b"\x07",
) -> bytes:
    """A certificate of the root."""
    version = der(0xA0, b"\x02\x01\x02")
    extended = der(0xA3, sequence(*extensions)) if extensions else b""
    signed = sequence(version, der(0x02, serial), ECDSA, issuer, sequence(*dates), subject, SPKI, extended)
    return sequence(signed, ECDSA, der(0x03, b"\0" + KEY.sign(signed, ec.ECDSA(hashes.SHA256()))))


ANCHOR = x509.load_der_x509_certificate(certificate(subject=ROOT, extensions=(IS_CA,)))

texts = st.sampled_from([b"", b"dev1", b"US", b"\0", b"\0dev", b"\xff\xfe"]) | st.binary(max_size=6)
attributes = st.builds(attribute, st.sampled_from(NAME_OIDS), st.sampled_from(STRING_TAGS), texts)
names = st.lists(attributes, max_size=3).map(lambda each: sequence(*each))
dates = st.builds(
    der,
    st.sampled_from([0x17, 0x18]),
    st.sampled_from(
        [b"00000101000000Z", b"99991231235959Z", b"20260230000000Z", b"500101000000Z", b"260101240000Z", b""]
    ),
)
leaves = st.builds(der, st.sampled_from((*STRING_TAGS, 0x06, 0x0A, 0x18, *range(0x81, 0x89))), texts)
trees = st.recursive(
    leaves | names,
    lambda inner: st.builds(
        lambda tag, contents: der(tag, *contents),
        st.sampled_from([0x30, 0x31, *range(0xA0, 0xA9)]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)
extensions = st.builds(
    lambda which, value: sequence(oid(which), der(0x04, value)),
    st.sampled_from(EXTENSION_OIDS),
    trees | st.binary(max_size=8),
)
BIT_STRING = attribute(COMMON_NAME, 0x03, b"\0ev1")
ALTERNATIVE = sequence(oid("2.5.29.17"), der(0x04, sequence(der(0xA4, sequence(BIT_STRING)))))


def assert_nothing_raises(ders: tuple[bytes, ...]) -> None:
    chain = PeerChain(ders)
    assert isinstance(chain.serial_number, str)
    try:
        leaf, intermediates = chain.leaf, chain.intermediates
        assert leaf is not None
        walk_issuers(leaf, intermediates)
    except MalformedCertificate:
        return
    device_identifier(leaf)
    assert isinstance(validate_path(leaf, intermediates, [ANCHOR], NOW), ValidPath | PathRefusal)


@given(names, names)
@example(sequence(BIT_STRING), ROOT)
def test_any_names(subject: bytes, issuer: bytes) -> None:
    assert_nothing_raises((certificate(subject=subject, issuer=issuer),))
    assert_nothing_raises((certificate(subject=subject),))


@given(dates, dates, st.binary(min_size=1, max_size=4))
@example(der(0x18, b"00000101000000Z"), DATES[1], b"\0")
def test_any_dates_and_serial_number(first: bytes, last: bytes, serial: bytes) -> None:
    assert_nothing_raises((certificate(dates=(first, last), serial=serial),))
    assert_nothing_raises((certificate(dates=(DATES[0], last)),))


@given(st.lists(extensions, min_size=1, max_size=3).map(tuple))
@example((ALTERNATIVE,))
@example((sequence(oid("1.3.6.1.5.5.7.1.24"), der(0x04, sequence())),))
def test_any_extensions_of_the_leaf_and_of_its_issuer(every: tuple[bytes, ...]) -> None:
    assert_nothing_raises((certificate(extensions=every),))
    lower = sequence(attribute(COMMON_NAME, 0x0C, b"lower"))
    assert_nothing_raises((certificate(issuer=lower), certificate(subject=lower, extensions=(IS_CA, *every))))


def test_certificate_without_anything_odd_is_valid() -> None:
    """What the others are changed from reaches the end of the rules."""
    leaf = load_certificate(certificate())
    assert isinstance(validate_path(leaf, (), [ANCHOR], NOW), ValidPath)
