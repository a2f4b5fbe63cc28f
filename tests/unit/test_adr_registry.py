from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from adr.errors import (
    CommonNameTooLong,
    DeviceDisabled,
    DeviceHasNoPolicy,
    DeviceNotFound,
    IssuerExpired,
    IssuerKeyMissing,
    NameInvalid,
    NamespaceExists,
    NamespaceNotFound,
    PolicyExists,
    PolicyNotFound,
    ValidityOutOfRange,
)
from adr.registry import AdrRegistry
from adr.store import StoreError
from certs.csr import CertificateRequest
from certs.identifier import device_identifier
from certs.keyfile import FileKeyStore, MemoryKeyStore
from certs.keys import KeyType, generate_key
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store() -> SqliteStore:
    return SqliteStore(":memory:")


@pytest.fixture
def keys() -> MemoryKeyStore:
    return MemoryKeyStore()


@pytest.fixture
def adr(store: SqliteStore, keys: MemoryKeyStore) -> AdrRegistry:
    return AdrRegistry(store, keys)


@pytest.fixture
def factory(adr: AdrRegistry) -> AdrRegistry:
    """A registry with namespace `factory`, policy `default` and device `sensor-001` under it."""
    adr.create_namespace("factory", NOW)
    adr.create_policy("factory", "default", NOW)
    adr.register_device("factory", "sensor-001", "default", NOW)
    return adr


def request_for(common_name: str) -> CertificateRequest:
    return CertificateRequest(common_name, generate_key(KeyType.P256).public_key(), b"")


def common_name(certificate: x509.Certificate) -> object:
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def assert_p384_with_sha384(certificate: x509.Certificate) -> None:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP384R1)
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)


class TestNamespace:
    def test_new_namespace_has_a_root_of_its_own_for_ten_years(self, adr: AdrRegistry) -> None:
        assert adr.create_namespace("factory", NOW) == adr.namespace("factory")
        adr.create_namespace("lab", NOW)
        root = adr.root("factory")
        assert_p384_with_sha384(root)
        root.verify_directly_issued_by(root)
        assert common_name(root) == "factory Root CA"
        assert 3650 * DAY <= root.not_valid_after_utc - NOW <= 3653 * DAY
        assert root.public_key() != adr.root("lab").public_key()

    def test_namespaces_come_in_the_order_of_their_names(self, adr: AdrRegistry) -> None:
        adr.create_namespace("lab", NOW)
        adr.create_namespace("factory", NOW + DAY)
        assert [(namespace.name, namespace.created) for namespace in adr.namespaces()] == [
            ("factory", NOW + DAY),
            ("lab", NOW),
        ]

    def test_second_namespace_of_a_name_is_refused_and_the_root_stays(self, adr: AdrRegistry) -> None:
        adr.create_namespace("factory", NOW)
        root = adr.root("factory")
        with pytest.raises(NamespaceExists, match="'factory' exists already"):
            adr.create_namespace("factory", NOW)
        assert adr.root("factory") == root

    def test_invalid_name_is_refused_with_the_rule(self, adr: AdrRegistry) -> None:
        with pytest.raises(NameInvalid, match="namespace name 'Factory' is not allowed: 3 to 64 lower-case"):
            adr.create_namespace("Factory", NOW)
        assert adr.namespaces() == []

    def test_longest_name_still_makes_a_root(self, adr: AdrRegistry) -> None:
        adr.create_namespace("n" * 64, NOW)
        assert common_name(adr.root("n" * 64)) == "n" * 64

    def test_unknown_namespace_is_not_found(self, adr: AdrRegistry) -> None:
        with pytest.raises(NamespaceNotFound, match="no namespace 'lab'"):
            adr.namespace("lab")
        with pytest.raises(NamespaceNotFound, match="no namespace 'lab'"):
            adr.root("lab")


class TestPolicy:
    def test_new_policy_has_an_issuing_ca_under_the_root_for_two_years(self, factory: AdrRegistry) -> None:
        policy = factory.policy("factory", "default")
        authority = factory.issuing_ca("factory", "default")
        assert_p384_with_sha384(authority.signed)
        authority.signed.verify_directly_issued_by(factory.root("factory"))
        assert common_name(authority.signed) == "factory default ICA"
        assert 729 * DAY <= authority.signed.not_valid_after_utc - NOW <= 731 * DAY
        assert policy.leaf_validity == 30 * DAY
        assert (authority.generation, policy.authority, policy.created) == (1, "default", NOW)

    def test_policy_name_compares_without_case(self, factory: AdrRegistry) -> None:
        assert factory.policy("factory", "DEFAULT").name == "default"
        with pytest.raises(PolicyExists, match="'factory' has a policy 'Default' already"):
            factory.create_policy("factory", "Default", NOW)

    def test_policies_are_those_of_the_namespace(self, factory: AdrRegistry) -> None:
        factory.create_namespace("factory-2", NOW)
        factory.create_policy("factory-2", "other", NOW)
        factory.create_policy("factory", "Short", NOW, leaf_validity=7 * DAY)
        assert [policy.name for policy in factory.policies("factory")] == ["default", "Short"]
        assert factory.policies("lab") == []

    def test_policy_of_an_unknown_namespace_is_refused(self, adr: AdrRegistry) -> None:
        with pytest.raises(NamespaceNotFound, match="no namespace 'lab'"):
            adr.create_policy("lab", "default", NOW)

    def test_unknown_policy_is_not_found(self, factory: AdrRegistry) -> None:
        with pytest.raises(PolicyNotFound, match="namespace 'factory' has no policy 'other'"):
            factory.policy("factory", "other")

    def test_invalid_name_is_refused_with_the_rule(self, factory: AdrRegistry) -> None:
        with pytest.raises(NameInvalid, match="policy name '-x-' is not allowed: 3 to 50"):
            factory.create_policy("factory", "-x-", NOW)

    def test_validity_out_of_range_is_refused(self, factory: AdrRegistry) -> None:
        with pytest.raises(ValidityOutOfRange):
            factory.create_policy("factory", "long", NOW, leaf_validity=91 * DAY)
        with pytest.raises(ValidityOutOfRange):
            factory.update_policy("factory", "default", leaf_validity=6 * DAY)
        assert [policy.leaf_validity for policy in factory.policies("factory")] == [30 * DAY]

    def test_short_validity_passes_when_allowed(self, store: SqliteStore, keys: MemoryKeyStore) -> None:
        adr = AdrRegistry(store, keys, allow_short_validity=True)
        adr.create_namespace("factory", NOW)
        policy = adr.create_policy("factory", "short", NOW, leaf_validity=timedelta(minutes=1, seconds=0.5))
        assert adr.policy("factory", "short") == policy

    def test_updated_validity_keeps_the_issuing_ca(self, factory: AdrRegistry) -> None:
        before = factory.issuing_ca("factory", "default")
        after = factory.update_policy("factory", "Default", leaf_validity=90 * DAY)
        assert after == factory.policy("factory", "default")
        assert (after.name, after.leaf_validity) == ("default", 90 * DAY)
        assert factory.issuing_ca("factory", "default") == before

    def test_trust_anchors_are_the_issuing_cas_of_the_namespace_and_not_the_root(self, factory: AdrRegistry) -> None:
        factory.create_namespace("lab", NOW)
        assert factory.trust_anchors("factory") == (factory.issuing_ca("factory", "default").signed,)
        assert factory.trust_anchors("lab") == ()
        factory.create_policy("factory", "second", NOW)
        assert factory.trust_anchors("factory")[1] == factory.issuing_ca("factory", "second").signed

    def test_expired_root_makes_no_policy(self, factory: AdrRegistry) -> None:
        with pytest.raises(IssuerExpired, match="it cannot issue at 2046"):
            factory.create_policy("factory", "late", NOW + 7300 * DAY)


class TestDevice:
    def test_registered_device_has_policy_and_identifier(self, factory: AdrRegistry) -> None:
        device = factory.device("factory", "sensor-001")
        assert device is not None
        assert (device.device_id, device.policy, device.enabled, device.created) == ("sensor-001", "default", True, NOW)
        assert isinstance(device.identifier, UUID)

    def test_devices_have_different_identifiers(self, factory: AdrRegistry) -> None:
        other = factory.register_device("factory", "sensor-002", "default", NOW)
        assert other.identifier != factory.register_device("factory", "sensor-001", "default", NOW).identifier

    def test_repeated_registration_changes_the_policy_and_nothing_else(self, factory: AdrRegistry) -> None:
        factory.create_policy("factory", "second", NOW)
        before = factory.device("factory", "sensor-001")
        assert factory.register_device("factory", "sensor-001", "DEFAULT", NOW + DAY) == before
        after = factory.register_device("factory", "sensor-001", "second", NOW + DAY)
        assert before is not None
        assert (after.policy, after.identifier, after.created) == ("second", before.identifier, NOW)
        assert factory.register_device("factory", "sensor-001", None, NOW).policy is None

    def test_unchanged_registration_writes_nothing(self, factory: AdrRegistry, store: SqliteStore) -> None:
        store.commit()
        factory.register_device("factory", "sensor-001", "default", NOW + DAY)
        assert not store._database.in_transaction

    def test_device_id_is_case_sensitive(self, factory: AdrRegistry) -> None:
        assert factory.device("factory", "SENSOR-001") is None

    def test_device_belongs_to_one_namespace(self, factory: AdrRegistry) -> None:
        factory.create_namespace("lab", NOW)
        assert factory.device("lab", "sensor-001") is None

    def test_unknown_namespace_or_policy_is_refused(self, factory: AdrRegistry) -> None:
        with pytest.raises(NamespaceNotFound):
            factory.register_device("lab", "sensor-002", None, NOW)
        with pytest.raises(PolicyNotFound):
            factory.register_device("factory", "sensor-002", "other", NOW)
        assert factory.device("factory", "sensor-002") is None

    def test_revoked_device_has_a_new_identifier_and_stays_enabled(self, factory: AdrRegistry) -> None:
        before = factory.device("factory", "sensor-001")
        after = factory.revoke_device("factory", "sensor-001", NOW)
        assert before is not None
        assert after == factory.device("factory", "sensor-001")
        assert after.identifier != before.identifier
        assert after.enabled

    def test_disabled_device_stays_so_when_it_registers_again(self, factory: AdrRegistry) -> None:
        factory.revoke_device("factory", "sensor-001", NOW, disable=True)
        assert not factory.revoke_device("factory", "sensor-001", NOW).enabled
        assert not factory.register_device("factory", "sensor-001", None, NOW).enabled

    def test_unknown_device_cannot_be_revoked(self, factory: AdrRegistry) -> None:
        with pytest.raises(DeviceNotFound, match="namespace 'factory' has no device 'sensor-002'"):
            factory.revoke_device("factory", "sensor-002", NOW)


class TestIssue:
    def test_chain_is_leaf_issuing_ca_root(self, factory: AdrRegistry) -> None:
        chain = factory.issue("factory", "sensor-001", request_for("sensor-001"), NOW)
        chain.leaf.verify_directly_issued_by(chain.issuing_ca)
        chain.issuing_ca.verify_directly_issued_by(chain.root)
        assert chain.root == factory.root("factory")

    def test_leaf_is_for_the_device_as_registered(self, factory: AdrRegistry) -> None:
        request = request_for("SENSOR-001")
        leaf = factory.issue("factory", "sensor-001", request, NOW).leaf
        device = factory.device("factory", "sensor-001")
        assert device is not None
        assert common_name(leaf) == "sensor-001"
        assert leaf.public_key() == request.public_key
        assert device_identifier(leaf) == device.identifier

    def test_leaf_lives_as_long_as_the_policy_says(self, factory: AdrRegistry) -> None:
        factory.update_policy("factory", "default", leaf_validity=7 * DAY)
        leaf = factory.issue("factory", "sensor-001", request_for("sensor-001"), NOW).leaf
        assert leaf.not_valid_after_utc == NOW + 7 * DAY

    def test_leaf_says_where_its_issuer_and_crl_are(self, store: SqliteStore, keys: MemoryKeyStore) -> None:
        adr = AdrRegistry(store, keys, public_url="http://ca.example:8080/")
        adr.create_namespace("factory", NOW)
        adr.create_policy("factory", "Default", NOW)
        adr.register_device("factory", "sensor-001", "default", NOW)
        extensions = adr.issue("factory", "sensor-001", request_for("sensor-001"), NOW).leaf.extensions
        (point,) = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        (access,) = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        assert [name.value for name in point.full_name or []] == ["http://ca.example:8080/crl/factory/Default.1.crl"]
        assert access.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        assert access.access_location.value == "http://ca.example:8080/ca/factory/Default.1.cer"

    def test_each_certificate_is_noted_under_its_device(self, factory: AdrRegistry) -> None:
        factory.register_device("factory", "sensor-0010", "default", NOW)
        factory.issue("factory", "sensor-0010", request_for("sensor-0010"), NOW)
        serials = {
            factory.issue("factory", "sensor-001", request_for("sensor-001"), NOW).serial_number for _ in range(2)
        }
        notes = factory.issued("factory", "sensor-001")
        assert {note.serial_number for note in notes} == serials
        assert len(serials) == 2
        assert {(note.device_id, note.policy, note.not_after) for note in notes} == {
            ("sensor-001", "default", NOW + 30 * DAY)
        }

    def test_unknown_device_gets_none(self, factory: AdrRegistry) -> None:
        with pytest.raises(DeviceNotFound, match="'sensor-002'"):
            factory.issue("factory", "sensor-002", request_for("sensor-002"), NOW)

    def test_device_of_another_namespace_gets_none(self, factory: AdrRegistry) -> None:
        factory.create_namespace("lab", NOW)
        factory.create_policy("lab", "default", NOW)
        with pytest.raises(DeviceNotFound, match="namespace 'lab' has no device"):
            factory.issue("lab", "sensor-001", request_for("sensor-001"), NOW)

    def test_disabled_device_gets_none(self, factory: AdrRegistry) -> None:
        factory.revoke_device("factory", "sensor-001", NOW, disable=True)
        with pytest.raises(DeviceDisabled, match="'sensor-001' is disabled"):
            factory.issue("factory", "sensor-001", request_for("sensor-001"), NOW)
        assert factory.issued("factory", "sensor-001") == []

    def test_device_without_policy_gets_none(self, factory: AdrRegistry) -> None:
        factory.register_device("factory", "sensor-001", None, NOW)
        with pytest.raises(DeviceHasNoPolicy, match="'sensor-001' has no policy"):
            factory.issue("factory", "sensor-001", request_for("sensor-001"), NOW)

    def test_longest_device_id_that_fits_a_common_name_is_64(self, factory: AdrRegistry) -> None:
        for device_id in ("d" * 64, "d" * 65):
            factory.register_device("factory", device_id, "default", NOW)
        assert common_name(factory.issue("factory", "d" * 64, request_for("d" * 64), NOW).leaf) == "d" * 64
        with pytest.raises(CommonNameTooLong, match="has 65 characters: a common name holds 64"):
            factory.issue("factory", "d" * 65, request_for("d" * 65), NOW)

    def test_expired_issuing_ca_issues_none(self, factory: AdrRegistry) -> None:
        with pytest.raises(IssuerExpired, match="CN=factory default ICA is valid from 2026"):
            factory.issue("factory", "sensor-001", request_for("sensor-001"), NOW + 740 * DAY)
        assert factory.issued("factory", "sensor-001") == []

    def test_lost_private_key_is_named(self, factory: AdrRegistry, store: SqliteStore, keys: MemoryKeyStore) -> None:
        keys.delete("factory.default.1")
        with pytest.raises(IssuerKeyMissing, match=r"'factory\.default\.1' is missing or belongs to another"):
            AdrRegistry(store, keys).issue("factory", "sensor-001", request_for("sensor-001"), NOW)

    def test_damaged_private_key_is_named(self, factory: AdrRegistry, store: SqliteStore, tmp_path: Path) -> None:
        (tmp_path / "factory.default.1.key").write_text("not a key")
        with pytest.raises(IssuerKeyMissing, match=r"'factory\.default\.1' is damaged: .*not an unencrypted"):
            AdrRegistry(store, FileKeyStore(tmp_path)).issue("factory", "sensor-001", request_for("sensor-001"), NOW)

    def test_private_key_of_another_certificate_signs_nothing(
        self, factory: AdrRegistry, store: SqliteStore, keys: MemoryKeyStore
    ) -> None:
        keys.save("factory.default.1", generate_key(KeyType.P384))
        with pytest.raises(IssuerKeyMissing):
            AdrRegistry(store, keys).issue("factory", "sensor-001", request_for("sensor-001"), NOW)


class TestDurability:
    def test_second_registry_on_the_same_state_issues_alike(
        self, factory: AdrRegistry, store: SqliteStore, keys: MemoryKeyStore
    ) -> None:
        again = AdrRegistry(store, keys)
        chain = again.issue("factory", "sensor-001", request_for("sensor-001"), NOW)
        assert chain.issuing_ca == factory.issuing_ca("factory", "default").signed
        chain.leaf.verify_directly_issued_by(chain.issuing_ca)

    def test_policy_made_anew_after_a_failed_commit_issues_with_its_new_key(
        self, store: SqliteStore, keys: MemoryKeyStore
    ) -> None:
        """What was remembered of the lost policy (same key, same revision) must not sign for the new one."""
        adr = AdrRegistry(store, keys)
        adr.create_namespace("factory", NOW)
        store.commit()
        adr.create_policy("factory", "default", NOW)
        adr.register_device("factory", "sensor-001", "default", NOW)
        lost = adr.issue("factory", "sensor-001", request_for("sensor-001"), NOW).issuing_ca
        fail_next_commit(store)
        with pytest.raises(PolicyNotFound):
            adr.policy("factory", "default")
        adr.create_policy("factory", "default", NOW)
        adr.register_device("factory", "sensor-001", "default", NOW)
        chain = adr.issue("factory", "sensor-001", request_for("sensor-001"), NOW)
        assert chain.issuing_ca != lost
        chain.leaf.verify_directly_issued_by(chain.issuing_ca)
        assert adr.trust_anchors("factory") == (chain.issuing_ca,)


def fail_next_commit(store: SqliteStore) -> None:
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    store.put("t", "k", "x" * 1_000_000)
    with pytest.raises(StoreError):
        store.commit()
    store._database.execute("PRAGMA max_page_count = 1000000")
