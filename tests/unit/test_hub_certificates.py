from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from emulator.store import SqliteStore
from hub.certificates import MAX_CERTIFICATES, HubCertificates
from hub.errors import ArgumentInvalid, CertificateNotFound, GenericForbidden

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with SqliteStore(":memory:") as store:
        yield store


@pytest.fixture
def certificates(store: SqliteStore) -> HubCertificates:
    return HubCertificates(store, "hub1")


def authority(name: str) -> CertificateAuthority:
    return CertificateAuthority.create_root(name, NOW, key_type=KeyType.P256)


def test_verified_certificates_are_anchors_in_the_order_of_their_names(certificates: HubCertificates) -> None:
    first, second = authority("first").certificate, authority("second").certificate
    certificates.add("b", second)
    certificates.add("a", first)
    assert certificates.anchors() == (first, second)
    assert certificates.names() == ["a", "b"]


def test_unverified_certificate_is_listed_but_no_anchor(certificates: HubCertificates) -> None:
    certificates.add("a", authority("a").certificate, verified=False)
    assert certificates.names() == ["a"]
    assert certificates.anchors() == ()


def test_removed_and_replaced_certificates_are_no_anchors_at_once(certificates: HubCertificates) -> None:
    old, new = authority("old").certificate, authority("new").certificate
    certificates.add("a", old)
    assert certificates.anchors() == (old,)
    certificates.add("a", new)
    assert certificates.anchors() == (new,)
    certificates.remove("a")
    assert certificates.anchors() == ()


def test_anchor_is_parsed_once(certificates: HubCertificates) -> None:
    certificates.add("a", authority("a").certificate)
    assert certificates.anchors()[0] is certificates.anchors()[0]


def test_remove_of_an_unknown_name_is_refused(certificates: HubCertificates) -> None:
    with pytest.raises(CertificateNotFound, match="no CA certificate 'a'"):
        certificates.remove("a")


def test_certificate_that_is_no_ca_is_refused(certificates: HubCertificates) -> None:
    leaf = authority("a").issue_onboarding(
        "dev1", generate_key(KeyType.P256).public_key(), NOW, validity=timedelta(days=1)
    )
    with pytest.raises(ArgumentInvalid, match=r"dev1.* is not a CA certificate"):
        certificates.add("a", leaf)


def test_certificate_with_extensions_that_cannot_be_decoded_is_no_ca(certificates: HubCertificates) -> None:
    key = generate_key(KeyType.P256)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broken")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    broken = x509.UnrecognizedExtension(x509.ExtensionOID.TLS_FEATURE, b"\x30\x00")
    with pytest.raises(ArgumentInvalid, match=r"broken.* is not a CA certificate"):
        certificates.add("a", builder.add_extension(broken, critical=False).sign(key, hashes.SHA256()))


def test_certificate_without_basic_constraints_is_refused(certificates: HubCertificates) -> None:
    key = generate_key(KeyType.P256)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plain")])
    plain = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW.replace(year=2027)).sign(
        key, hashes.SHA256()
    )
    with pytest.raises(ArgumentInvalid, match="basicConstraints"):
        certificates.add("a", plain)


def test_twenty_sixth_certificate_is_refused_but_one_may_be_replaced(
    certificates: HubCertificates,
) -> None:
    certificate = authority("a").certificate
    for n in range(MAX_CERTIFICATES):
        certificates.add(f"name{n}", certificate, verified=False)
    with pytest.raises(GenericForbidden, match="holds 25"):
        certificates.add("one more", certificate)
    certificates.add("name0", certificate)
    assert certificates.anchors() == (certificate,)


def proof(ca: CertificateAuthority, common_name: str) -> x509.Certificate:
    key = generate_key(KeyType.P256).public_key()
    return ca.issue_onboarding(common_name, key, NOW, validity=timedelta(days=1))


def test_owner_proves_possession_by_signing_the_code(certificates: HubCertificates) -> None:
    ca = authority("a")
    certificates.add("a", ca.certificate, verified=False)
    code = certificates.generate_verification_code("a")
    assert certificates.get("a").verification_code == code
    assert certificates.anchors() == ()
    verified = certificates.verify("a", proof(ca, code), NOW)
    assert (verified.is_verified, verified.verification_code) == (True, None)
    assert certificates.anchors() == (ca.certificate,)


def test_verification_needs_a_code_and_that_codes_name(certificates: HubCertificates) -> None:
    ca = authority("a")
    certificates.add("a", ca.certificate, verified=False)
    with pytest.raises(ArgumentInvalid, match="no verification code yet"):
        certificates.verify("a", proof(ca, "x"), NOW)
    code = certificates.generate_verification_code("a")
    for forged in (proof(ca, "x"), proof(authority("a"), code), proof(ca, code.lower())):
        with pytest.raises(ArgumentInvalid, match="possession of 'a' is not proven"):
            certificates.verify("a", forged, NOW)
    assert certificates.list() == [certificates.get("a")]
    assert not certificates.get("a").is_verified


def test_unknown_certificate_cannot_be_verified(certificates: HubCertificates) -> None:
    with pytest.raises(CertificateNotFound):
        certificates.generate_verification_code("other")
