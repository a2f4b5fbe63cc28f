from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store

from certs.authority import CertificateAuthority
from certs.keyfile import MemoryKeyStore
from certs.keys import PrivateKey
from emulator.kept_certificates import KeptCertificates
from emulator.server_certificates import ServerCertificates, ensure_server_certificates, find_server_certificates
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ["hub1.localhost", "192.168.1.5"]


@pytest.fixture(scope="module")
def made() -> tuple[CertificateAuthority, PrivateKey]:
    """A server CA and an RSA key as they are made when there are none; they are slow to make."""
    kept = KeptCertificates(SqliteStore(":memory:"), MemoryKeyStore())
    ensure_server_certificates(kept, [], NOW)
    ca, leaf = kept.authority("server-ca"), kept.authority("server-rsa")
    assert ca is not None
    assert leaf is not None
    return ca, leaf.key


@pytest.fixture
def keys(made: tuple[CertificateAuthority, PrivateKey]) -> MemoryKeyStore:
    keys = MemoryKeyStore()
    keys.save("server-rsa", made[1])
    return keys


@pytest.fixture
def kept(keys: MemoryKeyStore, made: tuple[CertificateAuthority, PrivateKey]) -> KeptCertificates:
    """A state that has the CA already, and no leaf."""
    kept = KeptCertificates(SqliteStore(":memory:"), keys)
    kept.keep("server-ca", made[0])
    return kept


def assert_serves(server: ServerCertificates, names: list[str], now: datetime) -> None:
    """A client that trusts the CA accepts both leaves for every name."""
    for leaf, key in server.leaves:
        assert key.public_key() == leaf.public_key()
        for name in names:
            verifier = PolicyBuilder().store(Store([server.ca])).time(now).build_server_verifier(subject(name))
            assert len(verifier.verify(leaf, [])) == 2


def subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def test_both_leaves_serve_every_name_localhost_and_the_loopback_addresses(kept: KeptCertificates) -> None:
    server = ensure_server_certificates(kept, NAMES, NOW)
    assert_serves(server, [*NAMES, "localhost", "127.0.0.1", "::1"], NOW)


def test_leaves_are_ecdsa_and_rsa_under_an_rsa_ca(kept: KeptCertificates) -> None:
    server = ensure_server_certificates(kept, NAMES, NOW)
    keys = [leaf.public_key() for leaf, _ in server.leaves]
    assert isinstance(keys[0], ec.EllipticCurvePublicKey)
    assert isinstance(keys[0].curve, ec.SECP256R1)
    assert [key.key_size for key in (keys[1], server.ca.public_key()) if isinstance(key, rsa.RSAPublicKey)] == [
        2048
    ] * 2


def test_second_call_finds_the_same(kept: KeptCertificates) -> None:
    first = ensure_server_certificates(kept, NAMES, NOW)
    second = ensure_server_certificates(kept, [*NAMES, "localhost"], NOW + 330 * DAY)
    assert (second.ca, [leaf for leaf, _ in second.leaves]) == (first.ca, [leaf for leaf, _ in first.leaves])
    assert find_server_certificates(kept) == second


def test_nothing_is_found_where_not_everything_was_made(kept: KeptCertificates) -> None:
    assert find_server_certificates(kept) is None


def test_leaf_without_key_is_not_found(kept: KeptCertificates, keys: MemoryKeyStore) -> None:
    ensure_server_certificates(kept, NAMES, NOW)
    keys.delete("server-rsa")
    assert find_server_certificates(kept) is None


def test_other_host_names_make_new_leaves_with_the_old_keys_under_the_old_ca(kept: KeptCertificates) -> None:
    first = ensure_server_certificates(kept, NAMES, NOW)
    second = ensure_server_certificates(kept, ["hub2.localhost"], NOW + DAY)
    assert_serves(second, ["hub2.localhost", "localhost"], NOW + DAY)
    assert second.ca == first.ca
    assert [key for _, key in second.leaves] == [key for _, key in first.leaves]
    names = second.leaves[0][0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "hub2.localhost"]


def test_leaves_near_expiry_are_renewed_under_the_old_ca(kept: KeptCertificates) -> None:
    first = ensure_server_certificates(kept, NAMES, NOW)
    later = NOW + 340 * DAY
    second = ensure_server_certificates(kept, NAMES, later)
    assert second.ca == first.ca
    assert_serves(second, NAMES, later + 300 * DAY)


def test_ca_near_expiry_is_replaced_with_its_leaves(kept: KeptCertificates) -> None:
    first = ensure_server_certificates(kept, NAMES, NOW)
    later = NOW + 3640 * DAY
    second = ensure_server_certificates(kept, NAMES, later)
    assert second.ca != first.ca
    assert_serves(second, NAMES, later + 300 * DAY)


def test_lost_leaf_key_makes_a_new_leaf_and_keeps_the_other(kept: KeptCertificates, keys: MemoryKeyStore) -> None:
    first = ensure_server_certificates(kept, NAMES, NOW)
    keys.delete("server-ecdsa")
    second = ensure_server_certificates(kept, NAMES, NOW)
    assert_serves(second, NAMES, NOW)
    assert second.ca == first.ca
    assert second.leaves[0] != first.leaves[0]
    assert second.leaves[1] == first.leaves[1]


def test_lost_ca_key_matters_only_when_something_must_be_signed(kept: KeptCertificates, keys: MemoryKeyStore) -> None:
    first = ensure_server_certificates(kept, NAMES, NOW)
    keys.delete("server-ca")
    assert ensure_server_certificates(kept, NAMES, NOW) == first
    second = ensure_server_certificates(kept, ["other"], NOW)
    assert second.ca != first.ca
    assert_serves(second, ["other"], NOW)
