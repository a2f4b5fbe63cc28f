"""Revocations and the lists that say so, at the times of a clock that a test moves."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from adr.audit import LIFECYCLE, AuditKind
from adr.authority import AuthorityState, IssuingCa
from adr.credential import Credential
from adr.errors import AuthorityIsExternal, AuthorityNotActive, AuthorityNotFound, DeviceNotFound, IssuerExpired
from adr.issuance import IssuedChain
from adr.registry import AdrRegistry
from adr.revocation import LIST_REFRESH, LIST_VALIDITY
from certs.csr import CertificateRequest
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, generate_key
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
REQUEST = CertificateRequest("pump", generate_key(KeyType.P256).public_key(), b"")


@pytest.fixture
def adr() -> AdrRegistry:
    registry = AdrRegistry(SqliteStore(":memory:"), MemoryKeyStore())
    registry.create_namespace("works", NOW)
    for policy, device in (("plant-1", "pump"), ("plant-2", "valve")):
        registry.create_policy("works", policy, NOW)
        registry.register_device("works", device, policy, NOW)
    return registry


def issue(adr: AdrRegistry, device: str = "pump", now: datetime = NOW) -> IssuedChain:
    return adr.issue("works", device, REQUEST, now)


def signed_list(adr: AdrRegistry, owner: Credential | IssuingCa, now: datetime) -> x509.CertificateRevocationList:
    found = x509.load_der_x509_crl(adr.revocations.signed_list(owner, now))
    assert found.is_signature_valid(owner.signed.public_key())  # type: ignore[arg-type]
    return found


def number_of(found: x509.CertificateRevocationList) -> int:
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def reasons(found: x509.CertificateRevocationList) -> dict[int, x509.ReasonFlags]:
    return {each.serial_number: each.extensions.get_extension_for_class(x509.CRLReason).value.reason for each in found}


class TestDevice:
    def test_every_certificate_of_a_revoked_device_is_on_the_list_of_its_issuer(self, adr: AdrRegistry) -> None:
        serials = {issue(adr).leaf.serial_number for _ in range(3)}
        issue(adr, "valve")
        adr.revoke_device("works", "pump", NOW + DAY)
        found = reasons(signed_list(adr, adr.issuing_ca("works", "plant-1"), NOW + DAY))
        assert found == dict.fromkeys(serials, x509.ReasonFlags.key_compromise)
        assert reasons(signed_list(adr, adr.issuing_ca("works", "plant-2"), NOW + DAY)) == {}

    def test_certificates_of_several_policies_are_on_several_lists(self, adr: AdrRegistry) -> None:
        first = issue(adr).leaf.serial_number
        adr.register_device("works", "pump", "plant-2", NOW)
        second = issue(adr).leaf.serial_number
        adr.revoke_device("works", "pump", NOW)
        assert set(reasons(signed_list(adr, adr.issuing_ca("works", "plant-1"), NOW))) == {first}
        assert set(reasons(signed_list(adr, adr.issuing_ca("works", "plant-2"), NOW))) == {second}

    def test_second_revocation_keeps_the_time_of_the_first(self, adr: AdrRegistry) -> None:
        issue(adr)
        adr.revoke_device("works", "pump", NOW + SECOND)
        adr.revoke_device("works", "pump", NOW + DAY)
        (entry,) = signed_list(adr, adr.issuing_ca("works", "plant-1"), NOW + DAY)
        assert entry.revocation_date_utc == NOW + SECOND

    def test_expired_certificate_is_not_put_on_the_list(self, adr: AdrRegistry) -> None:
        issue(adr)
        adr.revoke_device("works", "pump", NOW + 31 * DAY)
        assert len(signed_list(adr, adr.issuing_ca("works", "plant-1"), NOW + 31 * DAY)) == 0

    def test_deleted_device_is_revoked_and_gone(self, adr: AdrRegistry) -> None:
        serial = issue(adr).leaf.serial_number
        adr.revoking.delete_device("works", "pump", NOW)
        assert adr.device("works", "pump") is None
        found = reasons(signed_list(adr, adr.issuing_ca("works", "plant-1"), NOW))
        assert found == {serial: x509.ReasonFlags.cessation_of_operation}
        with pytest.raises(DeviceNotFound):
            adr.revoking.delete_device("works", "pump", NOW)

    def test_revocation_is_an_event(self, adr: AdrRegistry) -> None:
        adr.revoke_device("works", "pump", NOW, disable=True)
        ((_, event),) = adr.audit.read(LIFECYCLE)
        assert (event.kind, event.time, event.service, event.device_id) == (AuditKind.REVOKED, NOW, "works", "pump")
        assert "the device disabled" in event.reason

    def test_every_certificate_that_was_good_has_its_event_once(self, adr: AdrRegistry) -> None:
        issue(adr)
        late = NOW + 31 * DAY
        serials = {f"{issue(adr, now=late).leaf.serial_number:x}" for _ in range(2)}
        adr.revoke_device("works", "pump", late)
        adr.revoke_device("works", "pump", late + DAY)
        events = [event for _, event in adr.audit.read(LIFECYCLE)]
        assert {event.serial_number for event in events[:2]} == serials
        assert [event.serial_number for event in events[2:]] == [""]


class TestList:
    def test_list_is_the_same_until_it_is_an_hour_old(self, adr: AdrRegistry) -> None:
        issuer = adr.issuing_ca("works", "plant-1")
        first = signed_list(adr, issuer, NOW)
        assert signed_list(adr, issuer, NOW + LIST_REFRESH - SECOND) == first
        second = signed_list(adr, issuer, NOW + LIST_REFRESH)
        assert (number_of(first), number_of(second)) == (1, 2)
        assert second.last_update_utc == NOW + LIST_REFRESH
        assert second.next_update_utc == NOW + LIST_REFRESH + LIST_VALIDITY

    def test_revocation_makes_a_new_list_at_once(self, adr: AdrRegistry) -> None:
        issuer, serial = adr.issuing_ca("works", "plant-1"), issue(adr).leaf.serial_number
        assert number_of(signed_list(adr, issuer, NOW)) == 1
        adr.revoke_device("works", "pump", NOW)
        found = signed_list(adr, issuer, NOW)
        assert (number_of(found), set(reasons(found))) == (2, {serial})

    def test_clock_that_went_back_makes_a_new_list_with_a_higher_number(self, adr: AdrRegistry) -> None:
        issuer = adr.issuing_ca("works", "plant-1")
        signed_list(adr, issuer, NOW)
        found = signed_list(adr, issuer, NOW - DAY)
        assert (number_of(found), found.last_update_utc) == (2, NOW - DAY)

    def test_entry_stays_for_one_list_after_its_certificate_expired(self, adr: AdrRegistry) -> None:
        issuer, end = adr.issuing_ca("works", "plant-1"), issue(adr).leaf.not_valid_after_utc
        adr.revoke_device("works", "pump", NOW)
        assert len(signed_list(adr, issuer, end + LIST_VALIDITY - SECOND)) == 1
        assert len(signed_list(adr, issuer, end + LIST_VALIDITY + LIST_REFRESH)) == 0

    def test_revocation_can_be_looked_up(self, adr: AdrRegistry) -> None:
        chain = issue(adr)
        thumbprint = adr.issuing_ca("works", "plant-1").thumbprint
        assert adr.revocations.get(thumbprint, chain.serial_number) is None
        adr.revoke_device("works", "pump", NOW)
        found = adr.revocations.get(thumbprint, chain.serial_number)
        assert found is not None
        assert (found.revoked_at, found.not_after) == (NOW, chain.leaf.not_valid_after_utc)

    def test_ca_that_waits_for_its_certificate_signs_no_list(self, adr: AdrRegistry) -> None:
        pending = adr.create_issuing_ca("works", "own", NOW, external=True)
        with pytest.raises(AuthorityNotActive, match="waits for its signed certificate"):
            adr.authorities.signer(pending)


class TestIssuingCa:
    def test_revoked_issuing_ca_is_on_the_list_of_the_root(self, adr: AdrRegistry) -> None:
        former = adr.issuing_ca("works", "plant-1")
        (revoked,) = adr.revoke_issuing_ca("works", "plant-1", NOW + DAY)
        assert (revoked.state, revoked.changed, revoked.signed) == (AuthorityState.REVOKED, NOW + DAY, former.signed)
        found = reasons(signed_list(adr, adr.credential("works"), NOW + DAY))
        assert found == {former.signed.serial_number: x509.ReasonFlags.ca_compromise}

    def test_next_issuing_ca_has_another_key_and_only_it_is_trusted(self, adr: AdrRegistry) -> None:
        former, other = adr.issuing_ca("works", "plant-1"), adr.issuing_ca("works", "plant-2")
        adr.revoke_issuing_ca("works", "PLANT-1", NOW)
        following = adr.issuing_ca("works", "plant-1")
        assert (following.generation, following.name, following.state) == (2, "plant-1", AuthorityState.ACTIVE)
        assert following.signed.public_key() != former.signed.public_key()
        assert set(adr.trust_anchors("works")) == {following.signed, other.signed}
        assert issue(adr).issuing_ca == following.signed

    def test_rotated_generations_are_revoked_along(self, adr: AdrRegistry) -> None:
        adr.authorities.rotate(adr.issuing_ca("works", "plant-1"), NOW)
        revoked = adr.revoke_issuing_ca("works", "plant-1", NOW)
        assert [each.generation for each in revoked] == [1, 2]
        assert len(signed_list(adr, adr.credential("works"), NOW)) == 2

    def test_list_of_a_revoked_issuing_ca_is_still_signed_by_it(self, adr: AdrRegistry) -> None:
        serial = issue(adr).leaf.serial_number
        (former,) = adr.revoke_issuing_ca("works", "plant-1", NOW)
        adr.revoke_device("works", "pump", NOW)
        assert set(reasons(signed_list(adr, former, NOW))) == {serial}
        assert len(signed_list(adr, adr.issuing_ca("works", "plant-1"), NOW)) == 0

    def test_revocation_is_an_event(self, adr: AdrRegistry) -> None:
        (former,) = adr.revoke_issuing_ca("works", "plant-1", NOW)
        ((_, event),) = adr.audit.read(LIFECYCLE)
        assert (event.kind, event.serial_number) == (AuditKind.REVOKED, f"{former.signed.serial_number:x}")

    def test_unknown_or_external_issuing_ca_is_not_revoked(self, adr: AdrRegistry) -> None:
        with pytest.raises(AuthorityNotFound):
            adr.revoke_issuing_ca("works", "plant-3", NOW)
        adr.create_policy("works", "own", NOW, external=True)
        with pytest.raises(AuthorityIsExternal, match="revoke it there"):
            adr.revoke_issuing_ca("works", "own", NOW)

    def test_root_that_cannot_sign_a_new_one_revokes_nothing(self, adr: AdrRegistry) -> None:
        before = adr.trust_anchors("works")
        with pytest.raises(IssuerExpired):
            adr.revoke_issuing_ca("works", "plant-1", NOW + 7300 * DAY)
        assert adr.trust_anchors("works") == before
        assert len(signed_list(adr, adr.credential("works"), NOW)) == 0
