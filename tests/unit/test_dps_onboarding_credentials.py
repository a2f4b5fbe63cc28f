"""The life of an onboarding credential: its kinds, its CA's roll-over, its replacement, and its misuse."""

import base64
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from adr.audit import LIFECYCLE, REFUSALS, AuditKind
from adr.rotation import rotate_issuers
from broker.gateway import Refusal
from certs.authority import CertificateAuthority
from certs.identifier import device_identifier
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from dps.attestation_mechanism import X509CaReferences, X509ClientCertificates, X509SigningCertificates
from dps.enrollment import EnrollmentGroup, ProvisioningStatus
from emulator.store import SqliteStore
from tests.doubles.dps_house import (
    DEVICE,
    NOW,
    YEAR,
    Answer,
    DpsHouse,
    Factory,
    body_with_csr,
    chain_of,
    enrolled,
    group_token,
)

DAY = timedelta(days=1)


@pytest.fixture
def house() -> Iterator[DpsHouse]:
    with SqliteStore(":memory:") as store:
        yield DpsHouse(store)


def onboard(house: DpsHouse, chain: PeerChain, *, csr: bool = True) -> Answer:
    """Register with a certificate; the answer is the last poll's."""
    return house.connect(peer_chain=chain).onboard(body_with_csr() if csr else b"")


def refused(house: DpsHouse, chain: PeerChain) -> str:
    """Register with a certificate that must be refused, and return what the device is told."""
    answer = house.connect(peer_chain=chain).register()
    assert answer.status == 401, answer
    return str(answer.body["message"])


def operational(answer: Answer) -> PeerChain:
    """What the device shows to its hub from now on."""
    return PeerChain(tuple(base64.b64decode(text) for text in answer.state["issuedCertificateChain"][:2]))


def hub_accepts(house: DpsHouse, answer: Answer, chain: PeerChain) -> bool:
    host_name, device_id = answer.state["assignedHub"], answer.state["deviceId"]
    user_name = f"{host_name}/{device_id}/?api-version=2021-04-12"
    request = house.request(client_id=device_id, user_name=user_name, peer_chain=chain)
    return not isinstance(house.hubs[host_name].gateway.connect(request, NOW), Refusal)


def roll_over(house: DpsHouse, primary: Factory, secondary: Factory | None = None) -> None:
    certificates = [enrolled(each.root.certificate) for each in (primary, secondary) if each is not None]
    house.change_group("factory", attestation=X509SigningCertificates(*certificates))


# --- kinds ---


@pytest.mark.parametrize("ca_key", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048], ids=str)
@pytest.mark.parametrize("leaf_key", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048], ids=str)
def test_onboarding_certificate_of_any_documented_key_onboards(
    house: DpsHouse, ca_key: KeyType, leaf_key: KeyType
) -> None:
    root = CertificateAuthority.create_root("Root", NOW, key_type=ca_key)
    intermediate = root.issue_intermediate("CA", NOW, key_type=ca_key)
    house.add_x509_group(factory=Factory(root, intermediate), credential_policy_name="default")
    leaf = intermediate.issue_onboarding(DEVICE, generate_key(leaf_key).public_key(), NOW, validity=YEAR)
    answer = onboard(house, chain_of(leaf, intermediate.certificate))
    assert hub_accepts(house, answer, operational(answer))


def test_onboarding_certificate_may_live_for_decades(house: DpsHouse) -> None:
    root = CertificateAuthority.create_root("Root", NOW, key_type=KeyType.P256, validity=40 * YEAR)
    intermediate = root.issue_intermediate("CA", NOW, key_type=KeyType.P256, validity=40 * YEAR)
    house.add_x509_group(factory=Factory(root, intermediate), credential_policy_name="default")
    leaf = intermediate.issue_onboarding(DEVICE, generate_key(KeyType.P256).public_key(), NOW, validity=30 * YEAR)
    chain = chain_of(leaf, intermediate.certificate)
    late = NOW + 9 * YEAR  # the namespace's root lives ten
    rotate_issuers(house.adr, late)
    assert house.connect(peer_chain=chain, now=late).onboard(body_with_csr()).body["status"] == "assigned"


# --- the CA rolls over ---


def test_both_cas_of_a_group_are_trusted_while_it_rolls_over(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    old, new = house.factory, Factory.make("New factory")
    assert "not found" in refused(house, new.chain(DEVICE))
    roll_over(house, old, new)
    for factory in (old, new):
        assert onboard(house, factory.chain(DEVICE)).body["status"] == "assigned"
    roll_over(house, new)
    assert "not found" in refused(house, old.chain(DEVICE))
    assert onboard(house, new.chain(DEVICE)).body["status"] == "assigned"


def test_roll_over_ends_no_device_that_was_onboarded_before(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    answer = onboard(house, house.factory.chain(DEVICE))
    roll_over(house, Factory.make("New factory"))
    assert hub_accepts(house, answer, operational(answer))


def test_new_ca_certificate_of_the_same_key_trusts_what_the_old_one_signed(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    chain = house.factory.chain(DEVICE)
    root = CertificateAuthority.create_root("Factory Root", NOW + DAY, key=house.factory.root.key)
    roll_over(house, Factory(root, house.factory.intermediate))
    assert house.connect(peer_chain=chain, now=NOW + DAY).onboard().body["status"] == "assigned"


def test_ca_that_belongs_to_another_group_does_not_roll_over(house: DpsHouse) -> None:
    house.add_x509_group()
    other = Factory.make("Other")
    house.add_x509_group("other", other)
    with pytest.raises(Exception, match="belongs to group 'other'"):
        roll_over(house, house.factory, other)
    assert onboard(house, house.factory.chain(DEVICE), csr=False).body["status"] == "assigned"


# --- possession ---


def test_group_of_an_uploaded_ca_works_once_possession_is_proven(house: DpsHouse) -> None:
    uploads = house.service.enrollments.ca_certificates
    uploads.put("factory", enrolled(house.factory.intermediate.certificate))
    attestation = X509CaReferences("factory")
    house.put_group(EnrollmentGroup(enrollment_group_id="factory", attestation=attestation))
    assert "not found" in refused(house, house.factory.chain(DEVICE))
    code = uploads.generate_verification_code("factory")
    uploads.verify("factory", house.factory.leaf(code), NOW)
    assert onboard(house, house.factory.chain(DEVICE), csr=False).body["status"] == "assigned"


# --- the device gets another onboarding certificate, or forgets everything ---


def test_new_onboarding_certificate_is_the_same_device(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    before = onboard(house, house.factory.chain(DEVICE))
    after = onboard(house, house.factory.chain(DEVICE))
    assert after.state["deviceId"] == before.state["deviceId"]
    assert after.state["createdDateTimeUtc"] == before.state["createdDateTimeUtc"]
    leaves = [operational(answer).leaf for answer in (before, after)]
    assert leaves[0] != leaves[1]
    identifiers = [device_identifier(leaf) for leaf in leaves if leaf is not None]
    assert identifiers[0] == identifiers[1]
    for answer in (before, after):
        assert hub_accepts(house, answer, operational(answer)), "both certificates are good until they expire"


def test_replaced_certificate_of_an_individual_enrollment_is_refused(house: DpsHouse) -> None:
    old, new = house.factory.chain(DEVICE), house.factory.chain(DEVICE)
    assert old.leaf is not None
    assert new.leaf is not None
    house.add_x509_device(old.leaf, credential_policy_name="default")
    answer = onboard(house, old)
    house.add_x509_device(new.leaf, credential_policy_name="default")
    assert refused(house, old)
    assert onboard(house, new).body["status"] == "assigned"
    assert hub_accepts(house, answer, operational(answer))


def test_individual_enrollment_rolls_over_by_its_secondary_certificate(house: DpsHouse) -> None:
    old, new = house.factory.chain(DEVICE), house.factory.chain(DEVICE)
    assert old.leaf is not None
    assert new.leaf is not None
    enrollment: Any = house.add_x509_device(old.leaf)
    both = X509ClientCertificates(enrolled(old.leaf), enrolled(new.leaf))
    house.put_individual(type(enrollment)(registration_id=DEVICE, attestation=both))
    for chain in (old, new):
        assert hub_accepts(house, onboard(house, chain, csr=False), chain)


def test_device_after_a_factory_reset_onboards_again(house: DpsHouse) -> None:
    """It has its onboarding credential and nothing else; key and certificate are new, hub and identity are not."""
    house.add_x509_group(credential_policy_name="default")
    chain = house.factory.chain(DEVICE)
    before = onboard(house, chain)
    identity = house.hubs[before.state["assignedHub"]].registry.get(DEVICE)
    after = onboard(house, chain)
    assert after.state["assignedHub"] == before.state["assignedHub"]
    assert house.hubs[after.state["assignedHub"]].registry.get(DEVICE) == identity
    assert hub_accepts(house, after, operational(after))


# --- the onboarding certificate as operational certificate ---


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "as its operational certificate" in each.getMessage()]


@pytest.mark.parametrize("is_group", [True, False])
def test_onboarding_certificate_at_work_is_warned_of(
    house: DpsHouse, caplog: pytest.LogCaptureFixture, is_group: bool
) -> None:
    chain = house.factory.chain(DEVICE)
    assert chain.leaf is not None
    if is_group:
        house.add_x509_group(credential_policy_name="default")
    else:
        house.add_x509_device(chain.leaf)
    with caplog.at_level(logging.WARNING, "dps"):
        answer = onboard(house, chain, csr=not is_group)
    assert hub_accepts(house, answer, chain)
    (warning,) = warnings(caplog)
    assert warning.startswith(f"device {DEVICE}: uses its onboarding certificate")
    needed = "send a CSR" if is_group else f"name a policy in enrollment {DEVICE} and send a CSR"
    assert warning.endswith(f"does not reach it; {needed} instead")


def test_no_warning_where_it_is_not_so(house: DpsHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.add_x509_group(credential_policy_name="default")
    house.add_key_group()
    with caplog.at_level(logging.WARNING, "dps"):
        onboard(house, house.factory.chain(DEVICE))
        house.connect("keyed", password=group_token("keyed")).onboard()
    assert warnings(caplog) == []


# --- the audit trail ---


def test_issuing_is_an_event(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    leaf = operational(onboard(house, house.factory.chain(DEVICE))).leaf
    assert leaf is not None
    ((_, event),) = house.adr.audit.read(LIFECYCLE)
    assert (event.kind, event.service, event.device_id) == (AuditKind.ISSUED, "dps", DEVICE)
    assert (event.serial_number, event.reason) == (f"{leaf.serial_number:x}", "enrollment factory, policy default")


def test_refusal_is_an_event_with_the_presented_certificate(house: DpsHouse) -> None:
    chain = Factory.make("Stranger").chain(DEVICE)
    assert chain.leaf is not None
    refused(house, chain)
    ((_, event),) = house.adr.audit.read(REFUSALS)
    assert (event.kind, event.service, event.device_id) == (AuditKind.REFUSED, "dps", DEVICE)
    assert event.serial_number == f"{chain.leaf.serial_number:x}"
    assert event.reason.startswith("401002: no enrollment group trusts an issuer")


def test_refused_request_and_disabled_enrollment_are_events(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    device = house.connect(peer_chain=house.factory.chain(DEVICE))
    assert device.register(body_with_csr("another")).status == 400
    house.change_group("factory", provisioning_status=ProvisioningStatus.DISABLED)
    device.register()
    reasons = [event.reason for _, event in house.adr.audit.read(REFUSALS)]
    assert reasons[0].startswith("400000: registrationId 'another'")
    assert reasons[1:] == ["enrollment factory is disabled"]


def test_failed_registration_is_an_event(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default", iot_hubs=("nowhere.example",))
    assert onboard(house, house.factory.chain(DEVICE)).body["status"] == "failed"
    ((_, event),) = house.adr.audit.read(REFUSALS)
    assert event.reason.startswith("registration failed with 400208: none of the hubs")


def test_unreadable_certificate_is_an_event_without_serial_number(house: DpsHouse) -> None:
    refused(house, PeerChain((b"\x30\x03\x02\x01\x00",)))
    ((_, event),) = house.adr.audit.read(REFUSALS)
    assert event.serial_number == ""


def test_certificate_serial_numbers_are_written_alike(house: DpsHouse) -> None:
    """In the trail, in `GET /info` and by openssl's -serial they are the same hex digits, here in lower case."""
    leaf: x509.Certificate = house.factory.leaf(DEVICE)
    assert chain_of(leaf).serial_number == f"{leaf.serial_number:x}"
