"""X.509 attestation: which enrollment a presented chain belongs to, and the exact reason when none."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from dps.attestation import attest
from dps.attestation_mechanism import (
    X509CaReferences,
    X509ClientCertificates,
    X509SigningCertificates,
)
from dps.credentials import Attested, Credentials
from dps.enrollment import EnrollmentGroup, IndividualEnrollment, ProvisioningStatus
from dps.errors import CaCertificateNotFound, DpsError, InvalidCertificate
from emulator.store import SqliteStore
from tests.doubles.dps_house import DEVICE, NOW, SCOPE, YEAR, DpsHouse, Factory, chain_of, enrolled

UNPARSABLE = PeerChain((b"\x30\x03\x02\x01\x05",))


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        yield DpsHouse(store)


def attested(house: DpsHouse, chain: PeerChain, registration_id: str = DEVICE, **times: timedelta) -> Attested:
    credentials = Credentials(SCOPE, registration_id, peer_chain=chain)
    return attest(house.service.enrollments, credentials, NOW + times.get("after", timedelta(0)))


def refused(house: DpsHouse, chain: PeerChain, registration_id: str = DEVICE, **times: timedelta) -> DpsError:
    with pytest.raises(DpsError) as refusal:
        attested(house, chain, registration_id, **times)
    return refusal.value


def add_group(
    house: DpsHouse, name: str, primary: CertificateAuthority, secondary: CertificateAuthority | None = None
) -> None:
    attestation = X509SigningCertificates(
        enrolled(primary.certificate), enrolled(secondary.certificate) if secondary else None
    )
    house.put_group(EnrollmentGroup(enrollment_group_id=name, attestation=attestation))


def test_leaf_under_an_enrolled_root_belongs_to_its_group(house: DpsHouse) -> None:
    group = house.add_x509_group()
    chain = house.factory.chain(DEVICE)
    assert attested(house, chain) == Attested(group, DEVICE, DEVICE, chain.sha256_thumbprint)


def test_registration_id_keeps_the_spelling_of_the_device(house: DpsHouse) -> None:
    house.add_x509_group()
    assert attested(house, house.factory.chain("sensor-001"), "Sensor-001").registration_id == "Sensor-001"


def test_group_whose_ca_is_nearest_the_leaf_decides(house: DpsHouse) -> None:
    add_group(house, "root", house.factory.root)
    add_group(house, "intermediate", house.factory.intermediate)
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "intermediate"
    house.service.enrollments.groups.delete("intermediate")
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "root"


def test_secondary_signing_certificate_is_as_good_as_the_primary(house: DpsHouse) -> None:
    other = Factory.make("Other")
    add_group(house, "both", other.root, house.factory.root)
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "both"
    assert attested(house, other.chain(DEVICE)).enrollment_group_id == "both"


def test_intermediates_may_be_presented_in_any_order(house: DpsHouse) -> None:
    house.add_x509_group()
    factory = house.factory
    leaf = factory.leaf(DEVICE)
    stranger = Factory.make("Stranger").intermediate.certificate
    shuffled = chain_of(leaf, factory.root.certificate, stranger, factory.intermediate.certificate)
    assert attested(house, shuffled).enrollment_group_id == "factory"


def test_missing_intermediate_is_named(house: DpsHouse) -> None:
    house.add_x509_group()
    refusal = refused(house, chain_of(house.factory.leaf(DEVICE)))
    assert isinstance(refusal, CaCertificateNotFound)
    assert "CN=sensor-001 <- CN=Factory CA (not presented)" in str(refusal)


def test_authority_of_the_same_name_with_another_key_is_refused(house: DpsHouse) -> None:
    add_group(house, "factory", house.factory.intermediate)
    refusal = refused(house, Factory.make("Factory").chain(DEVICE))
    assert isinstance(refusal, InvalidCertificate | CaCertificateNotFound)


def test_a_forged_nearer_group_does_not_shadow_the_right_one(house: DpsHouse) -> None:
    add_group(house, "forged", Factory.make("Factory").intermediate)
    add_group(house, "right", house.factory.root)
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "right"


def test_expired_leaf_is_refused_with_its_date(house: DpsHouse) -> None:
    house.add_x509_group()
    leaf = house.factory.leaf(DEVICE, validity=timedelta(days=1))
    chain = chain_of(leaf, house.factory.intermediate.certificate)
    assert attested(house, chain)
    refusal = refused(house, chain, after=timedelta(days=2))
    assert isinstance(refusal, InvalidCertificate)
    assert "2026-11-24" in str(refusal)


@pytest.mark.parametrize("common_name", ["sensor-002", "sensor-0011", "sensor-00"])
def test_leaf_of_another_device_is_refused(house: DpsHouse, common_name: str) -> None:
    house.add_x509_group()
    refusal = refused(house, house.factory.chain(common_name))
    assert isinstance(refusal, InvalidCertificate)
    assert f"common name is '{common_name}', the registration ID 'sensor-001'" in str(refusal)


def test_common_name_of_other_letters_is_another_device(house: DpsHouse) -> None:
    """The Kelvin sign in lower case is a k."""
    house.add_x509_group()
    chain = house.factory.chain("\N{KELVIN SIGN}iln-1")
    assert isinstance(refused(house, chain, "kiln-1"), InvalidCertificate)


@pytest.mark.parametrize("chain", [UNPARSABLE, PeerChain((b"",)), PeerChain((b"junk", b"junk"))])
def test_malformed_certificate_is_refused(house: DpsHouse, chain: PeerChain) -> None:
    house.add_x509_group()
    assert isinstance(refused(house, chain), InvalidCertificate)


def test_malformed_intermediate_is_refused(house: DpsHouse) -> None:
    house.add_x509_group()
    leaf = house.factory.leaf(DEVICE).public_bytes(Encoding.DER)
    assert isinstance(refused(house, PeerChain((leaf, b"junk"))), InvalidCertificate)


def self_signed(common_name: str = DEVICE) -> CertificateAuthority:
    return CertificateAuthority.create_root(common_name, NOW, key_type=KeyType.P256, validity=YEAR)


def test_individual_enrollment_knows_its_leaf_by_thumbprint(house: DpsHouse) -> None:
    leaf = self_signed().certificate
    enrollment = house.add_x509_device(leaf)
    assert attested(house, chain_of(leaf)).enrollment == enrollment


def test_individual_enrollment_knows_its_secondary_leaf(house: DpsHouse) -> None:
    primary, secondary = self_signed().certificate, self_signed().certificate
    attestation = X509ClientCertificates(enrolled(primary), enrolled(secondary))
    house.put_individual(IndividualEnrollment(registration_id=DEVICE, attestation=attestation))
    assert attested(house, chain_of(secondary)).enrollment_group_id is None


def test_individual_enrollment_goes_before_its_group(house: DpsHouse) -> None:
    house.add_x509_group()
    leaf = house.factory.leaf(DEVICE)
    house.add_x509_device(leaf)
    chain = chain_of(leaf, house.factory.intermediate.certificate)
    assert attested(house, chain).enrollment_group_id is None


def test_other_leaf_of_an_individual_enrollment_falls_to_its_group(house: DpsHouse) -> None:
    house.add_x509_device(self_signed().certificate)
    assert "individual enrollment 'sensor-001' does not know this certificate" in str(
        refused(house, house.factory.chain(DEVICE))
    )
    house.add_x509_group()
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "factory"


@pytest.mark.parametrize("after", [YEAR + timedelta(days=1), timedelta(days=-1)])
def test_individual_leaf_outside_its_validity_is_refused(house: DpsHouse, after: timedelta) -> None:
    leaf = self_signed().certificate
    house.add_x509_device(leaf)
    refusal = refused(house, chain_of(leaf), after=after)
    assert isinstance(refusal, InvalidCertificate)
    assert "is valid from 2026-11-23T09:55:00+00:00" in str(refusal)


def test_individual_leaf_is_valid_to_its_last_second(house: DpsHouse) -> None:
    leaf = self_signed().certificate
    house.add_x509_device(leaf)
    last = leaf.not_valid_after_utc - NOW + timedelta(microseconds=999_999)
    assert attested(house, chain_of(leaf), after=last)
    assert refused(house, chain_of(leaf), after=last + timedelta(microseconds=1))


def test_individual_leaf_whose_common_name_is_another_is_refused(house: DpsHouse) -> None:
    leaf = self_signed("sensor-002").certificate
    house.add_x509_device(leaf)
    assert isinstance(refused(house, chain_of(leaf)), InvalidCertificate)


def test_key_enrollment_of_the_id_does_not_stand_in_the_way_of_the_group(house: DpsHouse) -> None:
    house.add_key_device()
    house.add_x509_group()
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "factory"


def refer(house: DpsHouse, secondary: str | None = None) -> EnrollmentGroup:
    attestation = X509CaReferences("factory-root", secondary)
    return house.put_group(EnrollmentGroup(enrollment_group_id="referring", attestation=attestation))


def test_referenced_ca_counts_only_once_verified(house: DpsHouse) -> None:
    refer(house)
    chain = house.factory.chain(DEVICE)
    assert isinstance(refused(house, chain), CaCertificateNotFound)
    uploads = house.service.enrollments.ca_certificates
    uploads.put("factory-root", enrolled(house.factory.root.certificate))
    assert isinstance(refused(house, chain), CaCertificateNotFound)
    uploads.put("factory-root", enrolled(house.factory.root.certificate), is_verified=True)
    assert attested(house, chain).enrollment_group_id == "referring"


def test_secondary_reference_counts_too(house: DpsHouse) -> None:
    uploads = house.service.enrollments.ca_certificates
    uploads.put("other", enrolled(house.factory.intermediate.certificate), is_verified=True)
    refer(house, "other")
    assert attested(house, house.factory.chain(DEVICE)).enrollment_group_id == "referring"


def test_individual_enrollment_may_refer_to_a_ca(house: DpsHouse) -> None:
    attestation = X509CaReferences("factory-root")
    enrollment = house.put_individual(IndividualEnrollment(registration_id=DEVICE, attestation=attestation))
    chain = house.factory.chain(DEVICE)
    assert isinstance(refused(house, chain), CaCertificateNotFound)
    root = enrolled(house.factory.root.certificate)
    house.service.enrollments.ca_certificates.put("factory-root", root, is_verified=True)
    house.add_x509_group()
    assert attested(house, chain).enrollment == enrollment


def test_key_of_a_leaf_does_not_matter(house: DpsHouse) -> None:
    house.add_x509_group()
    for key_type in (KeyType.P384, KeyType.RSA2048):
        key = generate_key(key_type).public_key()
        leaf = house.factory.intermediate.issue_onboarding(DEVICE, key, NOW, validity=YEAR)
        assert attested(house, chain_of(leaf, house.factory.intermediate.certificate))


def test_disabled_group_is_found_so_that_it_can_refuse(house: DpsHouse) -> None:

    group = house.add_x509_group()
    house.put_group(replace(group, provisioning_status=ProvisioningStatus.DISABLED))
    assert not attested(house, house.factory.chain(DEVICE)).enrollment.enabled
