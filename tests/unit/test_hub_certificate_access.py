"""Certificates at the door, through `HubGateway.connect`: every refusal names what is wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs.authority import CertificateAuthority
from certs.csr import parse_csr
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from hub.identity import Authentication, AuthenticationType

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BY_CA = Authentication(AuthenticationType.CERTIFICATE_AUTHORITY)


def chain_of(*certificates: Any) -> PeerChain:
    return PeerChain(tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates))


@pytest.fixture
def company() -> CertificateAuthority:
    return CertificateAuthority.create_root("Company CA", NOW, key_type=KeyType.P256)


def leaf_of(authority: CertificateAuthority, common_name: str = "dev1", validity: timedelta = DAY) -> Any:
    return authority.issue_onboarding(common_name, generate_key(KeyType.P256).public_key(), NOW, validity=validity)


# Issued through ADR


def test_operational_leaf_connects_with_and_without_its_issuer(house: Any) -> None:
    chain = house.onboard("sensor-001")
    house.connect("sensor-001", peer_chain=chain)
    house.connect("sensor-001", peer_chain=PeerChain(chain.der[:1]))


def test_leaf_of_another_device_is_refused(house: Any) -> None:
    chain = house.onboard("sensor-001")
    house.onboard("sensor-002")
    reason = house.refusal("sensor-002", peer_chain=chain)
    assert "certificate CN is 'sensor-001'" in reason
    assert "must be exactly 'sensor-002'" in reason


def test_common_name_in_another_case_is_refused(house: Any) -> None:
    chain = house.onboard("sensor-001")
    house.register("Sensor-001", BY_CA)
    assert "must be exactly 'Sensor-001'" in house.refusal("Sensor-001", peer_chain=chain)


def test_leaf_of_another_namespace_is_refused(house: Any, make_csr: Any) -> None:
    house.onboard("sensor-001")
    house.adr.create_namespace("other", NOW)
    house.adr.create_policy("other", "default", NOW)
    house.adr.register_device("other", "sensor-001", "default", NOW)
    issued = house.adr.issue("other", "sensor-001", parse_csr(make_csr("sensor-001"), "sensor-001"), NOW)
    reason = house.refusal("sensor-001", peer_chain=chain_of(issued.leaf, issued.issuing_ca, issued.root))
    assert "sensor-001" in reason
    assert "trusts 1 issuing CA(s) of namespace factory and 0 CA certificate(s) registered on it" in reason


def test_expired_operational_leaf_is_refused_with_its_date(house: Any) -> None:
    chain = house.onboard("sensor-001")
    house.connect("sensor-001", peer_chain=chain, now=NOW + 30 * DAY)
    reason = house.refusal("sensor-001", peer_chain=chain, now=NOW + 31 * DAY)
    assert "2026-12-23" in reason


def test_leaf_is_refused_before_its_time(house: Any) -> None:
    chain = house.onboard("sensor-001")
    assert "2026-11-23" in house.refusal("sensor-001", peer_chain=chain, now=NOW - DAY)


def test_revoked_certificate_is_refused_and_the_next_one_connects(house: Any) -> None:
    old = house.onboard("sensor-001")
    house.adr.revoke_device("factory", "sensor-001", NOW)
    reason = house.refusal("sensor-001", peer_chain=old)
    assert "was revoked: its device identifier is not the one in namespace factory" in reason
    house.connect("sensor-001", peer_chain=house.onboard("sensor-001"))


def test_device_disabled_in_the_namespace_is_refused(house: Any) -> None:
    chain = house.onboard("sensor-001")
    house.adr.revoke_device("factory", "sensor-001", NOW, disable=True)
    reason = house.refusal("sensor-001", peer_chain=chain)
    assert reason == "device sensor-001 is disabled in namespace factory"


def test_issued_leaf_of_a_device_the_namespace_does_not_know_is_refused(house: Any) -> None:
    """As after the device record was deleted."""
    chain = house.onboard("sensor-001")
    house.store.delete("adr.devices", "factory/sensor-001")
    reason = house.refusal("sensor-001", peer_chain=chain)
    assert reason == "device sensor-001 is not registered in namespace factory"


def test_issued_leaf_needs_no_readable_issuer_beside_it(house: Any) -> None:
    """The certificate is known to the letter, so that what comes with it does not matter."""
    chain = house.onboard("sensor-001")
    house.connect("sensor-001", peer_chain=PeerChain((chain.der[0], b"\x30\x00")))


@pytest.mark.parametrize("position", [-1, -20, 40, 200])
def test_issued_leaf_with_one_bit_changed_is_refused(house: Any, position: int) -> None:
    """It has the serial number of a known certificate, but is another one: then its signature counts."""
    chain = house.onboard("sensor-001")
    forged = bytearray(chain.der[0])
    forged[position] ^= 1
    house.refusal("sensor-001", peer_chain=PeerChain((bytes(forged), chain.der[1])))


def test_known_leaf_is_refused_when_its_issuer_is_no_trust_anchor_any_more(house: Any) -> None:
    chain = house.onboard("sensor-001", "default")
    house.adr.revoke_issuing_ca("factory", "default", NOW)
    assert "trusts 1 issuing CA(s)" in house.refusal("sensor-001", peer_chain=chain)


# Issued by ADR, and the hub has a CA of ADR among its own


@pytest.mark.parametrize("registered", ["root", "issuing CA"])
def test_registered_ca_of_adr_does_not_bring_back_what_was_revoked(house: Any, registered: str) -> None:
    """A namespace's root, or an issuing CA, that somebody registers on the hub opens no way round the identifier."""
    chain = house.onboard("sensor-001", "default")
    issuing_ca = house.adr.issuing_ca("factory", "default").signed
    house.hub.certificates.add("adr", house.adr.root("factory") if registered == "root" else issuing_ca)
    house.connect("sensor-001", peer_chain=chain)
    house.adr.revoke_device("factory", "sensor-001", NOW)
    assert "was revoked" in house.refusal("sensor-001", peer_chain=chain)
    chain = house.onboard("sensor-001", "default")
    house.connect("sensor-001", peer_chain=chain)
    house.adr.revoke_issuing_ca("factory", "default", NOW)
    reason = house.refusal("sensor-001", peer_chain=chain)
    assert "generation 1 of issuing CA default of namespace factory, which is revoked" in reason


def test_registered_ca_that_certifies_a_revoked_issuing_ca_anew_does_not_help(house: Any, company: Any) -> None:
    """The key counts, not the certificate: a cross-signed issuing CA is still the revoked one."""
    chain = house.onboard("sensor-001", "default")
    issuing_ca = house.adr.issuing_ca("factory", "default").signed
    builder = x509.CertificateBuilder(
        issuer_name=company.certificate.subject, subject_name=issuing_ca.subject, public_key=issuing_ca.public_key(),
        serial_number=7, not_valid_before=NOW - DAY, not_valid_after=NOW + DAY, extensions=list(issuing_ca.extensions),
    )  # fmt: skip
    crossed = builder.sign(company.key, hashes.SHA384())
    house.hub.certificates.add("crossed", crossed)
    house.adr.revoke_issuing_ca("factory", "default", NOW)
    assert "which is revoked" in house.refusal("sensor-001", peer_chain=PeerChain((chain.der[0],)))


def test_hub_of_another_namespace_that_registers_a_root_asks_that_namespace(make_house: Any) -> None:
    house = make_house(namespace=None)
    chain = house.onboard("sensor-001")
    house.hub.certificates.add("adr", house.adr.root("factory"))
    house.connect("sensor-001", peer_chain=chain)
    house.adr.revoke_device("factory", "sensor-001", NOW, disable=True)
    assert "is disabled in namespace factory" in house.refusal("sensor-001", peer_chain=chain)


def test_leaf_of_a_deleted_policy_lives_on(house: Any) -> None:
    chain = house.onboard("sensor-001", "default")
    house.adr.delete_policy("factory", "default", NOW)
    house.connect("sensor-001", peer_chain=chain)


def test_session_says_which_issuing_ca_it_rests_on(house: Any, company: Any) -> None:
    session = house.connect("sensor-001", peer_chain=house.onboard("sensor-001", "default")).session
    assert session.issuer == house.adr.issuing_ca("factory", "default").thumbprint
    house.register("dev1", BY_CA)
    house.hub.certificates.add("company", company.certificate)
    assert house.connect("dev1", peer_chain=chain_of(leaf_of(company))).session.issuer is None


def test_hub_without_a_namespace_trusts_no_issued_leaf(make_house: Any) -> None:
    house = make_house(namespace=None)
    chain = house.onboard("sensor-001")
    assert "trusts no namespace and 0 CA certificate(s)" in house.refusal("sensor-001", peer_chain=chain)


# Issued by a CA registered on the hub


def test_leaf_of_a_registered_ca_connects_without_any_namespace_record(house: Any, company: Any) -> None:
    house.register("dev1", BY_CA)
    house.hub.certificates.add("company", company.certificate)
    house.connect("dev1", peer_chain=chain_of(leaf_of(company)))


def test_leaf_under_an_intermediate_connects_when_it_presents_it(house: Any, company: Any) -> None:
    house.register("dev1", BY_CA)
    house.hub.certificates.add("company", company.certificate)
    intermediate = company.issue_intermediate("Plant CA", NOW, validity=365 * DAY)
    leaf = leaf_of(intermediate)
    house.connect("dev1", peer_chain=chain_of(leaf, intermediate.certificate))
    assert "Plant CA" in house.refusal("dev1", peer_chain=chain_of(leaf))


def test_leaf_of_a_ca_that_is_not_registered_or_not_verified_is_refused(house: Any, company: Any) -> None:
    house.register("dev1", BY_CA)
    chain = chain_of(leaf_of(company), company.certificate)
    assert "Company CA" in house.refusal("dev1", peer_chain=chain)
    house.hub.certificates.add("company", company.certificate, verified=False)
    assert "0 CA certificate(s) registered" in house.refusal("dev1", peer_chain=chain)


def test_module_needs_both_ids_in_its_common_name(house: Any, company: Any) -> None:
    house.register("dev1", BY_CA)
    house.hub.registry.create_module("dev1", "mod1", BY_CA, NOW)
    house.hub.certificates.add("company", company.certificate)
    house.connect("dev1/mod1", peer_chain=chain_of(leaf_of(company, "dev1/mod1")))
    assert "must be exactly 'dev1/mod1'" in house.refusal("dev1/mod1", peer_chain=chain_of(leaf_of(company, "mod1")))


def test_device_that_presents_no_certificate_is_refused(house: Any) -> None:
    house.register("dev1", BY_CA)
    assert house.refusal("dev1") == "the client presented no certificate"


@pytest.mark.parametrize("authentication", [BY_CA, Authentication(AuthenticationType.SELF_SIGNED)])
def test_unreadable_leaf_is_refused(house: Any, authentication: Authentication) -> None:
    house.register("dev1", authentication)
    assert "cannot be read" in house.refusal("dev1", peer_chain=PeerChain((b"not a certificate",)))


@pytest.mark.parametrize("authentication", [BY_CA, Authentication(AuthenticationType.SELF_SIGNED)])
def test_leaf_of_the_year_0_is_refused(house: Any, authentication: Authentication) -> None:
    """Anybody can make one; it needs no key of anybody else."""
    house.register("dev1", authentication)
    key, year = generate_key(KeyType.P256), datetime(2050, 11, 23, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, year, year)
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER).replace(b"20501123", b"00001123", 1)
    reason = house.refusal("dev1", peer_chain=PeerChain((der,)))
    assert "cannot be read: its validity cannot be decoded" in reason


def test_unreadable_intermediate_is_refused(house: Any, company: Any) -> None:
    house.register("dev1", BY_CA)
    chain = chain_of(leaf_of(company))
    reason = house.refusal("dev1", peer_chain=PeerChain((chain.der[0], b"\x30\x00")))
    assert "intermediate certificate cannot be read" in reason


# By thumbprint


@pytest.mark.parametrize("which", ["primary_thumbprint", "secondary_thumbprint"])
@pytest.mark.parametrize("hash_name", ["sha1_thumbprint", "sha256_thumbprint"])
@pytest.mark.parametrize("spelling", [str.upper, str.lower])
def test_either_thumbprint_by_either_hash_connects(
    house: Any, company: Any, which: str, hash_name: str, spelling: Any
) -> None:
    chain = chain_of(leaf_of(company, "any name"))
    thumbprint = {which: spelling(getattr(chain, hash_name))}
    house.register("dev1", Authentication(AuthenticationType.SELF_SIGNED, **thumbprint))
    house.connect("dev1", peer_chain=chain)


def test_another_thumbprint_is_refused_in_the_words_of_the_service(house: Any, company: Any) -> None:
    registered, presented = chain_of(leaf_of(company)), chain_of(leaf_of(company))
    house.register(
        "dev1", Authentication(AuthenticationType.SELF_SIGNED, primary_thumbprint=registered.sha1_thumbprint)
    )
    assert house.refusal("dev1", peer_chain=presented) == (
        "dev1: Thumbprint does not match configuration: Thumbprint: "
        f"SHA1Hash={presented.sha1_thumbprint}, SHA2Hash={presented.sha256_thumbprint}; Configuration: "
        f"PrimaryThumbprint={registered.sha1_thumbprint}, SecondaryThumbprint=None"
    )


def test_device_without_registered_thumbprints_and_without_a_certificate_is_refused(house: Any) -> None:
    house.register("dev1", Authentication(AuthenticationType.SELF_SIGNED))
    assert house.refusal("dev1") == "the client presented no certificate"


@pytest.mark.parametrize(("moment", "word"), [(NOW + 2 * DAY, "expired at"), (NOW - 2 * DAY, "is not valid before")])
def test_thumbprint_device_is_refused_outside_its_certificates_validity(
    house: Any, company: Any, moment: datetime, word: str
) -> None:
    chain = chain_of(leaf_of(company))
    house.register("dev1", Authentication(AuthenticationType.SELF_SIGNED, primary_thumbprint=chain.sha1_thumbprint))
    reason = house.refusal("dev1", peer_chain=chain, now=moment)
    assert f"certificate 'CN=dev1' {word}" in reason
    assert moment.isoformat() in reason
