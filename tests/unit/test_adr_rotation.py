"""Rotation of issuing CAs: early enough, without a device noticing, and never beyond the root."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from adr.audit import LIFECYCLE, AuditKind
from adr.errors import IssuerExpired
from adr.issuance import IssuedChain
from adr.registry import AdrRegistry
from adr.rotation import ageing_roots, rotate_issuers
from certs.authority import ISSUING_CA_VALIDITY, ROOT_VALIDITY
from certs.csr import CertificateRequest
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, generate_key
from certs.path import ValidPath, validate_path
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LEAF = timedelta(days=30)
DUE = ISSUING_CA_VALIDITY - LEAF - timedelta(days=30)
KEY = generate_key(KeyType.P256)


@dataclass
class House:
    store: SqliteStore
    adr: AdrRegistry

    def issue(self, now: datetime) -> IssuedChain:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "d")])
        csr = x509.CertificateSigningRequestBuilder(subject).sign(KEY, hashes.SHA256())
        request = CertificateRequest("d", KEY.public_key(), csr.public_bytes(Encoding.DER))
        return self.adr.issue("factory", "d", request, now)

    def is_trusted(self, leaf: x509.Certificate, now: datetime) -> bool:
        return isinstance(validate_path(leaf, (), self.adr.trust_anchors("factory"), now), ValidPath)


@pytest.fixture
def house() -> Iterator[House]:
    with SqliteStore(":memory:") as store:
        adr = AdrRegistry(store, MemoryKeyStore())
        adr.create_namespace("factory", NOW)
        adr.create_policy("factory", "default", NOW, leaf_validity=LEAF)
        adr.register_device("factory", "d", "default", NOW)
        yield House(store, adr)


def test_young_issuing_ca_stays(house: House) -> None:
    assert rotate_issuers(house.adr, NOW + DUE - DAY) == []
    assert house.adr.issuing_ca("factory", "default").generation == 1


def test_issuing_ca_is_rotated_while_it_can_issue_full_length_leaves(house: House) -> None:
    now = NOW + DUE + timedelta(minutes=1)
    before = house.issue(now)
    (rotated,) = rotate_issuers(house.adr, now)
    after = house.issue(now)
    assert (rotated.generation, house.adr.issuing_ca("factory", "default")) == (2, rotated)
    assert before.issuing_ca != after.issuing_ca == rotated.signed
    assert before.leaf.not_valid_after_utc - now > LEAF - timedelta(seconds=1)


def test_rotation_happens_once(house: House) -> None:
    now = NOW + DUE + DAY
    assert len(rotate_issuers(house.adr, now)) == 1
    assert rotate_issuers(house.adr, now) == []


def test_leaf_of_the_former_issuing_ca_is_good_until_it_expires(house: House) -> None:
    now = NOW + DUE + DAY
    leaf = house.issue(now).leaf
    rotate_issuers(house.adr, now)
    assert house.is_trusted(leaf, now + LEAF - DAY)
    assert not house.is_trusted(leaf, now + LEAF + DAY)


def test_expired_former_issuing_ca_is_dropped_at_the_next_rotation(house: House) -> None:
    rotate_issuers(house.adr, NOW + DUE + DAY)
    now = NOW + 2 * DUE + 9 * DAY
    (third,) = rotate_issuers(house.adr, now)
    assert third.generation == 3
    assert len(house.adr.trust_anchors("factory")) == 2
    assert all(ca.not_valid_after_utc > now for ca in house.adr.trust_anchors("factory"))


def test_jump_over_the_whole_life_of_an_issuing_ca_is_mended(house: House) -> None:
    now = NOW + timedelta(days=3 * 365)
    with pytest.raises(IssuerExpired):
        house.issue(now)
    (following,) = rotate_issuers(house.adr, now)
    assert house.issue(now).leaf.not_valid_after_utc > now + LEAF - DAY
    assert house.adr.trust_anchors("factory") == (following.signed,)


def test_leaf_never_outlives_its_issuer_nor_the_issuer_its_root(house: House) -> None:
    root = house.adr.root("factory")
    now = NOW
    while now < NOW + ROOT_VALIDITY - DAY:
        rotate_issuers(house.adr, now)
        chain = house.issue(now)
        assert chain.leaf.not_valid_after_utc <= chain.issuing_ca.not_valid_after_utc <= root.not_valid_after_utc
        now += timedelta(days=97)
    assert house.adr.issuing_ca("factory", "default").generation <= 8


@pytest.mark.parametrize("elapsed", [ROOT_VALIDITY - LEAF, ROOT_VALIDITY + DAY], ids=["near its end", "expired"])
def test_nothing_is_rotated_in_vain_when_the_root_is_old(house: House, elapsed: timedelta) -> None:
    rotate_issuers(house.adr, NOW + ROOT_VALIDITY - timedelta(days=200))
    generation = house.adr.issuing_ca("factory", "default").generation
    assert rotate_issuers(house.adr, NOW + elapsed) == []
    assert house.adr.issuing_ca("factory", "default").generation == generation


@pytest.mark.parametrize("years", [3, 9], ids=["next issuing CA", "one that ends with its root"])
def test_clock_that_went_back_before_the_issuing_ca_is_mended(house: House, years: int) -> None:
    rotate_issuers(house.adr, NOW + timedelta(days=365 * years))
    with pytest.raises(IssuerExpired):
        house.issue(NOW + DAY)
    (following,) = rotate_issuers(house.adr, NOW + DAY)
    assert rotate_issuers(house.adr, NOW + DAY) == []
    chain = house.issue(NOW + DAY)
    assert (chain.issuing_ca, following.generation) == (following.signed, 3)
    assert house.is_trusted(chain.leaf, NOW + DAY)
    last = [event for _, event in house.adr.audit.read(LIFECYCLE)][-1]
    assert "generation 2 is not valid before" in last.reason


def test_root_not_valid_yet_rotates_nothing(house: House) -> None:
    assert rotate_issuers(house.adr, NOW - DAY) == []


def test_root_near_its_end_is_reported(house: House) -> None:
    assert ageing_roots(house.adr, NOW + ROOT_VALIDITY - timedelta(days=366)) == []
    (root,) = ageing_roots(house.adr, NOW + ROOT_VALIDITY - timedelta(days=100))
    assert root.namespace == "factory"
    assert "in 50 days" in root.describe(NOW + ROOT_VALIDITY - timedelta(days=50, hours=1))
    assert "expired at" in root.describe(NOW + ROOT_VALIDITY + DAY)


def test_root_that_was_made_after_the_present_is_reported(house: House) -> None:
    (root,) = ageing_roots(house.adr, NOW - DAY)
    assert "not valid before" in root.describe(NOW - DAY)


def test_rotation_is_an_event(house: House) -> None:
    (policy,) = rotate_issuers(house.adr, NOW + DUE + DAY)
    ((_, event),) = house.adr.audit.read(LIFECYCLE)
    assert (event.kind, event.service) == (AuditKind.ROTATED, "factory")
    assert event.serial_number == f"{policy.signed.serial_number:x}"
