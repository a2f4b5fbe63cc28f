from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.csr import CertificateRequest
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, generate_key
from emulator.faults.fault import CERTIFICATE_KINDS, FaultKind
from emulator.faults.issuing import OVER_LONG, FaultyRegistry
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = generate_key(KeyType.P256)
REQUEST = CertificateRequest("dev1", KEY.public_key(), b"")


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    with SqliteStore(":memory:") as store:
        registry = FaultyRegistry(store, MemoryKeyStore())
        registry.create_namespace("factory", NOW)
        registry.create_policy("factory", "default", NOW)
        registry.register_device("factory", "dev1", "default", NOW)
        yield registry


def issued(registry: FaultyRegistry, kind: FaultKind | None) -> tuple[x509.Certificate, ...]:
    """The chain as a device reads it."""
    import base64

    registry.tampering = lambda device_id, requester, now: kind
    texts = registry.issue("factory", "dev1", REQUEST, NOW).base64_der()
    return tuple(x509.load_der_x509_certificate(base64.b64decode(each)) for each in texts)


def name_of(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def is_right(chain: tuple[x509.Certificate, ...]) -> bool:
    leaf = chain[0]
    valid = leaf.not_valid_before_utc <= NOW <= leaf.not_valid_after_utc
    return len(chain) == 3 and name_of(leaf) == "dev1" and leaf.public_key() == KEY.public_key() and valid


def test_registry_without_faults_issues_as_it_should(registry: FaultyRegistry) -> None:
    assert FaultyRegistry.tampering is None
    assert is_right(issued(registry, None))


@pytest.mark.parametrize("kind", sorted(CERTIFICATE_KINDS))
def test_no_mistake_passes_for_a_right_chain(registry: FaultyRegistry, kind: FaultKind) -> None:
    assert not is_right(issued(registry, kind))


def test_each_mistake_is_the_one_it_is_called(registry: FaultyRegistry) -> None:
    chains = {kind: issued(registry, kind) for kind in CERTIFICATE_KINDS}
    assert chains[FaultKind.WRONG_KEY][0].public_key() != KEY.public_key()
    assert name_of(chains[FaultKind.WRONG_CN][0]) == "another-device"
    assert chains[FaultKind.EXPIRED][0].not_valid_after_utc < NOW
    assert chains[FaultKind.NOT_YET_VALID][0].not_valid_before_utc > NOW + timedelta(hours=23)
    assert name_of(chains[FaultKind.REORDERED][-1]) == "dev1"
    assert [name_of(each) for each in chains[FaultKind.TRUNCATED]] == ["dev1"]
    assert len(chains[FaultKind.OVER_LONG]) == OVER_LONG


@pytest.mark.parametrize("kind", sorted(CERTIFICATE_KINDS))
def test_mistaken_leaf_is_signed_by_the_issuing_ca(registry: FaultyRegistry, kind: FaultKind) -> None:
    chain = issued(registry, kind)
    leaf = chain[-1] if kind is FaultKind.REORDERED else chain[0]
    leaf.verify_directly_issued_by(registry.trust_anchors("factory")[0])
