import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from cryptography.x509 import CRLDistributionPoints, DNSName, IPAddress, SubjectAlternativeName

from adr.store import StoreError
from certs.authority import CertificateAuthority
from certs.csr import CertificateRequest
from certs.keyfile import FileKeyStore, MemoryKeyStore
from certs.keys import KeyType
from certs.pem import format_pem, parse_pem_certificates
from certs.profiles import SERVER_CA
from dps.allocation import AllocationPolicy
from dps.attestation_mechanism import (
    SymmetricKeyAttestation,
    X509CaReferences,
    X509ClientCertificates,
    X509SigningCertificates,
)
from dps.enrollment import EnrollmentGroup, ProvisioningStatus, ReprovisionPolicy
from dps.service import ProvisioningService
from emulator.bootstrap import Resources, bootstrap, open_dev_ca, recall
from emulator.config import Config, ConfigError, default_config, load_config
from emulator.kept_certificates import KeptCertificates
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
KEY = "AAECAwQFBgcICQoLDA0ODw=="
OTHER_KEY = "DwAOAQ0CDAMLBAoFCQYIBw=="
Start = Callable[..., Resources]


@pytest.fixture(scope="module")
def server_ca() -> CertificateAuthority:
    """The server CA of a state that is otherwise new: RSA keys are slow to make."""
    return CertificateAuthority.create_root("server CA", NOW, key_type=KeyType.RSA2048, profile=SERVER_CA)


@pytest.fixture
def keys(server_ca: CertificateAuthority) -> MemoryKeyStore:
    keys = MemoryKeyStore()
    keys.save("server-rsa", server_ca.key)
    return keys


@pytest.fixture
def store(keys: MemoryKeyStore, server_ca: CertificateAuthority) -> SqliteStore:
    store = SqliteStore(":memory:")
    KeptCertificates(store, keys).keep("server-ca", server_ca)
    return store


@pytest.fixture
def start(store: SqliteStore, keys: MemoryKeyStore, tmp_path: Path) -> Start:
    """Start once more on the same state, with the configuration of this text (the default one without)."""

    def start(text: str = "", now: datetime = NOW) -> Resources:
        resources = bootstrap(config_of(tmp_path, text), store, keys, None, now)
        store.commit()
        return resources

    return start


def config_of(directory: Path, text: str) -> Config:
    path = directory / "hublet.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return load_config(path)


def factory(**dps: str) -> str:
    """Write a configuration with one of each, and these further lines in its DPS."""
    lines = [
        "namespaces: {factory: {policies: {default: }}}",
        "hubs: {hub1: {namespace: factory}, hub2: {namespace: factory}}",
        "dps:",
        "  dps1:",
        "    namespace: factory",
        *(f"    {name}: {value}" for name, value in dps.items()),
    ]
    return "\n".join(lines)


def group_of(resources: Resources, name: str = "line-1") -> EnrollmentGroup:
    return resources.dps[0].enrollments.groups.get(name)


def keys_of(group: EnrollmentGroup) -> tuple[str, str]:
    assert isinstance(group.attestation, SymmetricKeyAttestation)
    return group.attestation.keys


class TestDefault:
    def test_default_resources_are_linked_to_one_namespace(self, start: Start) -> None:
        resources = start()
        (hub,), (dps,) = resources.hubs, resources.dps
        assert (hub.settings.host_name, hub.settings.namespace) == ("localhost", "default")
        assert (dps.settings.host_names, dps.settings.namespace) == (("localhost",), "default")
        assert [policy.name for policy in resources.adr.policies("default")] == ["default"]
        assert resources.adr.policy("default", "default").leaf_validity == timedelta(days=30)

    def test_default_groups_name_the_policy(self, start: Start) -> None:
        resources = start()
        groups = resources.dps[0].enrollments.groups.list()
        assert [(group.name, group.credential_policy_name) for group in groups] == [
            ("dev-ca", "default"),
            ("symmetric-key", "default"),
        ]

    def test_development_group_trusts_the_development_ca(self, start: Start) -> None:
        resources = start()
        attestation = group_of(resources, "dev-ca").attestation
        assert isinstance(attestation, X509SigningCertificates)
        assert attestation.secondary is not None
        assert attestation.primary.certificate == resources.dev_ca.intermediate.certificate
        assert attestation.secondary.certificate == resources.dev_ca.root

    def test_default_config_is_that_of_an_empty_file(self, tmp_path: Path) -> None:
        assert default_config() == config_of(tmp_path, "")

    def test_server_ca_is_no_adr_root(self, start: Start) -> None:
        resources = start()
        assert resources.server_ca != resources.adr.root("default")
        assert [leaf.issuer for leaf, _ in resources.server_certificates] == [resources.server_ca.subject] * 2


class TestIdScope:
    def test_made_scope_is_0ne_and_eight_upper_case_hex_digits(self, start: Start) -> None:
        scope = start().dps[0].settings.id_scope
        assert scope[:3] == "0ne"
        assert len(scope) == 11
        assert set(scope[3:]) <= set("0123456789ABCDEF")

    def test_made_scope_is_kept(self, start: Start) -> None:
        assert start().dps[0].settings.id_scope == start().dps[0].settings.id_scope

    def test_each_dps_has_its_own(self, start: Start) -> None:
        scopes = {dps.settings.id_scope for dps in start("dps: {dps1: , dps2: }").dps}
        assert len(scopes) == 2

    def test_declared_scope_is_taken_and_then_kept(self, start: Start) -> None:
        assert start("dps: {dps1: {id_scope: 0ne0012ABCD}}").dps[0].settings.id_scope == "0ne0012ABCD"
        assert start("dps: {dps1: {id_scope: 0ne0012ABCD}, dps2: }").dps[0].settings.id_scope == "0ne0012ABCD"
        assert start("dps: {dps1: }").dps[0].settings.id_scope == "0ne0012ABCD"

    def test_scope_that_is_taken_is_not_made_again(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        made = iter(["0012abcd", "0012abce"])
        monkeypatch.setattr("secrets.token_hex", lambda _size: next(made))
        start("dps: {other: {id_scope: 0ne0012ABCD}}")
        assert start("dps: {dps1: }").dps[0].settings.id_scope == "0ne0012ABCE"


class TestServices:
    def test_settings_are_those_declared(self, start: Start) -> None:
        resources = start(
            """
            namespaces: {factory: }
            hubs:
              hub1: {namespace: factory, partitions: 4, aliases: [other], issuing_delay_seconds: 2}
              hub2: {}
            dps:
              dps1:
                host_names: [dps]
                linked_hubs: [hub2]
                retry_after_seconds: 1
                assigning_delay_seconds: 0.5
                immediate_csr_errors: true
            strict: true
            quirks: {bare_certificate_array: true, deliver_earlier_messages: true}
            """
        )
        hub = resources.hubs[0].settings
        assert (hub.name, hub.host_name, hub.aliases, hub.namespace) == ("hub1", "localhost", ("other",), "factory")
        assert (hub.partition_count, hub.strict, hub.issuing_delay) == (4, True, timedelta(seconds=2))
        assert (hub.bare_certificate_array, hub.deliver_earlier_messages) == (True, True)
        assert resources.hubs[1].settings.host_name == "hub2.localhost"
        dps = resources.dps[0].settings
        assert (dps.name, dps.host_names, dps.namespace, dps.strict) == ("dps1", ("dps",), None, True)
        assert (dps.retry_after_seconds, dps.assigning_delay) == (1, timedelta(seconds=0.5))
        assert dps.immediate_csr_errors

    def test_server_certificate_carries_every_name(self, start: Start) -> None:
        text = (
            factory(host_names="[dps.example]") + "\nhost_names: [more.example]\nbind_addresses: [0.0.0.0, 192.0.2.1]"
        )
        leaf, _ = start(text).server_certificates[0]
        names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
        assert names.get_values_for_type(DNSName) == ["localhost", "dps.example", "hub2.localhost", "more.example"]
        assert [str(address) for address in names.get_values_for_type(IPAddress)] == ["192.0.2.1", "127.0.0.1", "::1"]

    def test_certificates_say_where_the_control_port_is(self, start: Start) -> None:
        resources = start(factory() + "\nports: {control: 18080}")
        resources.adr.register_device("factory", "d", "default", NOW)
        key = CertificateAuthority.create_root("x", NOW).key.public_key()
        leaf = resources.adr.issue("factory", "d", CertificateRequest("d", key, b""), NOW).leaf
        (point,) = leaf.extensions.get_extension_for_class(CRLDistributionPoints).value
        assert [name.value for name in point.full_name or []] == ["http://127.0.0.1:18080/crl/factory/default.1.crl"]

    def test_short_validity_is_passed_on(self, start: Start) -> None:
        text = "allow_short_validity: true\nnamespaces: {lab: {policies: {quick: {validity_days: 0.001}}}}"
        assert start(text).adr.policy("lab", "quick").leaf_validity == timedelta(seconds=86)


class TestSecondStart:
    @pytest.mark.parametrize("text", ["", factory(enrollment_groups="{line-1: {symmetric_key: generate}}")])
    def test_same_configuration_writes_nothing(
        self, start: Start, store: SqliteStore, keys: MemoryKeyStore, tmp_path: Path, text: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        start(text)
        kept = dict(keys._keys)
        caplog.set_level(logging.INFO)
        caplog.clear()
        bootstrap(config_of(tmp_path, text), store, keys, None, LATER)
        assert not store._database.in_transaction
        assert keys._keys == kept
        assert caplog.messages == []

    def test_first_start_says_what_it_made(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        start(factory(enrollment_groups="{line-1: {ca: dev-ca}}"))
        for message in (
            "namespace factory: created with its root CA",
            "hubs.hub2: created",
            "dps.dps1: created",
            "development CA: root created",
            "dps.dps1.enrollment_groups.line-1: created",
        ):
            assert message in caplog.messages

    def test_root_and_issuing_ca_stay(self, start: Start) -> None:
        first, second = start(), start()
        assert second.adr.root("default") == first.adr.root("default")
        assert second.adr.trust_anchors("default") == first.adr.trust_anchors("default")

    def test_changed_validity_is_taken_over(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        text = "namespaces: {factory: {policies: {default: {validity_days: %d}}}}"
        before = start(text % 30).adr.trust_anchors("factory")
        caplog.set_level(logging.INFO)
        adr = start(text % 7).adr
        assert adr.policy("factory", "default").leaf_validity == timedelta(days=7)
        assert adr.trust_anchors("factory") == before
        assert caplog.messages == ["namespaces.factory.policies.default: leaves now live 7 days, 0:00:00"]

    def test_added_policy_is_made(self, start: Start) -> None:
        start("namespaces: {factory: }")
        assert len(start("namespaces: {factory: {policies: {default: }}}").adr.policies("factory")) == 1

    def test_changed_hub_is_said_and_an_undeclared_one_is_not_started(
        self, start: Start, caplog: pytest.LogCaptureFixture
    ) -> None:
        start("hubs: {hub1: , hub2: , hub3: }")
        caplog.set_level(logging.INFO)
        resources = start("hubs: {hub1: {partitions: 4}, hub3: }")
        assert [hub.settings.name for hub in resources.hubs] == ["hub1", "hub3"]
        assert [message for message in caplog.messages if message.startswith("hubs.")] == [
            "hubs.hub1: updated",
            "hubs.hub2: no longer declared; it stays in the state and is not started",
        ]


class TestGroups:
    def declare(self, start: Start, settings: str, now: datetime = NOW) -> EnrollmentGroup:
        return group_of(start(factory(enrollment_groups=f"{{line-1: {{{settings}}}}}"), now))

    def test_terms_are_those_declared(self, start: Start) -> None:
        group = self.declare(
            start,
            "ca: dev-ca, credential_policy: default, provisioning_status: disabled, allocation: static, hubs: [hub2]",
        )
        assert group.credential_policy_name == "default"
        assert group.provisioning_status is ProvisioningStatus.DISABLED
        assert (group.allocation_policy, group.iot_hubs) == (AllocationPolicy.STATIC, ("hub2.localhost",))

    @pytest.mark.parametrize(
        ("declared", "policy"),
        [
            ("", ReprovisionPolicy(update_hub_assignment=True, migrate_device_data=True)),
            (", reprovision: migrate", ReprovisionPolicy(update_hub_assignment=True, migrate_device_data=True)),
            (", reprovision: reset", ReprovisionPolicy(update_hub_assignment=True, migrate_device_data=False)),
            (", reprovision: never", ReprovisionPolicy(update_hub_assignment=False, migrate_device_data=False)),
        ],
    )
    def test_reprovision_policy_is_that_declared(self, start: Start, declared: str, policy: ReprovisionPolicy) -> None:
        assert self.declare(start, f"ca: dev-ca{declared}").reprovision_policy == policy

    def test_initial_twin_is_that_declared(self, start: Start) -> None:
        group = self.declare(start, "ca: dev-ca, initial_twin: {tags: {line: 1}, properties: {desired: {a: 2}}}")
        assert group.initial_twin == {"tags": {"line": 1}, "properties": {"desired": {"a": 2}}}

    def test_uploaded_cas_are_referred_to_before_they_are_there(self, start: Start) -> None:
        assert self.declare(start, "ca_references: [one]").attestation == X509CaReferences("one")
        assert self.declare(start, "ca_references: [one, two]").attestation == X509CaReferences("one", "two")

    def test_ca_file_becomes_primary_and_secondary(self, start: Start, tmp_path: Path) -> None:
        first, second = (CertificateAuthority.create_root(name, NOW).certificate for name in ("one", "two"))
        (tmp_path / "ca.pem").write_bytes(format_pem(first, second))
        attestation = self.declare(start, "ca: ca.pem").attestation
        assert isinstance(attestation, X509SigningCertificates)
        assert attestation.secondary is not None
        assert (attestation.primary.certificate, attestation.secondary.certificate) == (first, second)

    def test_generated_keys_stay_when_the_declaration_changes(self, start: Start) -> None:
        before = self.declare(start, "symmetric_key: generate")
        after = self.declare(start, "symmetric_key: generate, provisioning_status: disabled", LATER)
        assert keys_of(after) == keys_of(before)
        assert keys_of(before)[0] != keys_of(before)[1]
        assert after.provisioning_status is ProvisioningStatus.DISABLED
        assert (after.created_at, after.last_updated_at) == (NOW, LATER)

    def test_declared_key_replaces_the_generated_one_of_its_kind(self, start: Start) -> None:
        before = self.declare(start, "symmetric_key: generate")
        after = self.declare(start, f"symmetric_key: {{primary: {KEY}}}")
        assert keys_of(after) == (KEY, keys_of(before)[1])
        assert keys_of(self.declare(start, f"symmetric_key: {{secondary: {OTHER_KEY}}}")) == (KEY, OTHER_KEY)

    def test_attestation_can_change_its_kind(self, start: Start) -> None:
        self.declare(start, "ca: dev-ca")
        assert keys_of(self.declare(start, f"symmetric_key: {{primary: {KEY}, secondary: {OTHER_KEY}}}")) == (
            KEY,
            OTHER_KEY,
        )
        assert isinstance(self.declare(start, "ca: dev-ca").attestation, X509SigningCertificates)

    def test_what_the_service_api_changed_lasts_until_the_declaration_changes(self, start: Start) -> None:
        text = "{line-1: {ca: dev-ca%s}}"
        resources = start(factory(enrollment_groups=text % ""))
        disabled = replace(group_of(resources), provisioning_status=ProvisioningStatus.DISABLED)
        resources.dps[0].enrollments.groups.put(disabled, NOW)
        assert not group_of(start(factory(enrollment_groups=text % ""))).enabled
        assert group_of(start(factory(enrollment_groups=text % ", credential_policy: default"))).enabled

    def test_deleted_group_comes_back(self, start: Start) -> None:
        text = factory(enrollment_groups="{line-1: {ca: dev-ca}}")
        start(text).dps[0].enrollments.groups.delete("line-1")
        assert group_of(start(text)).enabled

    def test_undeclared_group_goes_and_frees_its_ca(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        start(factory(enrollment_groups="{line-1: {ca: dev-ca}}"))
        caplog.set_level(logging.INFO)
        resources = start(factory(enrollment_groups="{line-2: {ca: dev-ca}}"))
        assert [group.name for group in resources.dps[0].enrollments.groups.list()] == ["line-2"]
        assert "dps.dps1.enrollment_groups.line-1: removed, it is no longer declared" in caplog.messages

    def test_undeclared_group_may_be_gone_already(self, start: Start) -> None:
        start(factory(enrollment_groups="{line-1: {ca: dev-ca}}")).dps[0].enrollments.groups.delete("line-1")
        assert start(factory()).dps[0].enrollments.groups.list() == []

    def test_group_of_the_service_api_is_left_alone(self, start: Start) -> None:
        groups = start(factory()).dps[0].enrollments.groups
        groups.put(EnrollmentGroup(enrollment_group_id="theirs", attestation=SymmetricKeyAttestation(KEY, KEY)), NOW)
        assert group_of(start(factory(enrollment_groups="{line-1: {ca: dev-ca}}")), "theirs").enabled

    def test_group_of_the_service_api_in_the_way_is_named(self, start: Start) -> None:
        resources = start(factory(enrollment_groups="{line-1: {ca: dev-ca}}"))
        attestation = group_of(resources).attestation
        start(factory()).dps[0].enrollments.groups.put(
            EnrollmentGroup(enrollment_group_id="theirs", attestation=attestation), NOW
        )
        with pytest.raises(ConfigError) as refusal:
            start(factory(enrollment_groups="{line-1: {ca: dev-ca}}"))
        assert "dps.dps1.enrollment_groups.line-1: " in str(refusal.value)
        assert "'theirs'" in str(refusal.value)

    def test_renewed_development_ca_updates_its_group(self, start: Start) -> None:
        text = factory(enrollment_groups="{line-1: {ca: dev-ca}}")
        start(text)
        resources = start(text, NOW + timedelta(days=1810))
        attestation = group_of(resources).attestation
        assert isinstance(attestation, X509SigningCertificates)
        assert attestation.primary.certificate == resources.dev_ca.intermediate.certificate


class TestIndividuals:
    def dps(self, start: Start, enrollments: str) -> ProvisioningService:
        return start(factory(individual_enrollments=enrollments)).dps[0]

    def test_certificate_and_device_id_are_those_declared(self, start: Start, tmp_path: Path) -> None:
        ca = CertificateAuthority.create_root("factory", NOW)
        leaf = ca.issue_onboarding("Sensor-1", ca.key.public_key(), NOW, validity=timedelta(days=1))
        (tmp_path / "sensor.pem").write_bytes(format_pem(leaf))
        dps = self.dps(start, "{Sensor-1: {certificate: sensor.pem, device_id: sensor@1}}")
        enrollment = dps.enrollments.individuals.get("sensor-1")
        assert isinstance(enrollment.attestation, X509ClientCertificates)
        assert enrollment.attestation.primary.certificate == leaf
        assert (enrollment.registration_id, enrollment.device_id) == ("Sensor-1", "sensor@1")

    def test_symmetric_key_is_that_declared(self, start: Start) -> None:
        dps = self.dps(start, f"{{sensor-1: {{symmetric_key: {{primary: {KEY}}}}}}}")
        attestation = dps.enrollments.individuals.get("sensor-1").attestation
        assert isinstance(attestation, SymmetricKeyAttestation)
        assert attestation.primary_key == KEY

    def test_undeclared_individual_goes(self, start: Start) -> None:
        self.dps(start, "{Sensor-1: {symmetric_key: generate}, sensor-2: {symmetric_key: generate}}")
        dps = self.dps(start, "{sensor-2: {symmetric_key: generate}}")
        assert [each.name for each in dps.enrollments.individuals.list()] == ["sensor-2"]

    def test_name_in_another_case_is_the_same_enrollment(self, start: Start) -> None:
        before = self.dps(start, "{Sensor-1: {symmetric_key: generate}}").enrollments.individuals.get("sensor-1")
        after = self.dps(start, "{SENSOR-1: {symmetric_key: generate}}").enrollments.individuals.get("sensor-1")
        assert after.attestation == before.attestation
        assert after.registration_id == "SENSOR-1"


class TestRecall:
    def test_recalled_resources_are_those_of_the_last_start(
        self, start: Start, store: SqliteStore, keys: MemoryKeyStore
    ) -> None:
        started = start(factory(linked_hubs="[hub2]", enrollment_groups="{line-1: {symmetric_key: generate}}"))
        recalled = recall(store, keys, None)
        assert [hub.settings for hub in recalled.hubs] == [hub.settings for hub in started.hubs]
        assert [dps.settings for dps in recalled.dps] == [dps.settings for dps in started.dps]
        assert group_of(recalled) == group_of(started)
        assert (recalled.server, recalled.dev_ca) == (started.server, started.dev_ca)
        assert recalled.adr.root("factory") == started.adr.root("factory")
        assert not store._database.in_transaction

    def test_state_that_never_started_cannot_be_recalled(self, store: SqliteStore, keys: MemoryKeyStore) -> None:
        with pytest.raises(StoreError, match="run `hublet up` first"):
            recall(store, keys, None)


class TestStateDirectory:
    def test_certificates_to_hand_out_lie_in_it_and_keys_are_private(self, tmp_path: Path) -> None:
        directory = tmp_path / "state"
        with SqliteStore(directory / "hublet.sqlite") as store:
            resources = bootstrap(default_config(), store, FileKeyStore(directory / "keys"), directory, NOW)
            store.commit()
        assert resources.server_ca_file == directory / "server-ca.pem"
        assert parse_pem_certificates((directory / "server-ca.pem").read_bytes()) == (resources.server_ca,)
        opened = open_dev_ca(directory)
        assert opened is not None
        assert opened.certificate == resources.dev_ca.intermediate.certificate
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in (directory / "keys").iterdir()} == {0o600}

    def test_restart_finds_everything_again(self, tmp_path: Path) -> None:
        directory = tmp_path / "state"
        seen = []
        for _ in range(2):
            with SqliteStore(directory / "hublet.sqlite") as store:
                resources = bootstrap(default_config(), store, FileKeyStore(directory / "keys"), directory, NOW)
                store.commit()
                seen.append(
                    (
                        resources.server_ca,
                        resources.dev_ca.root,
                        resources.adr.root("default"),
                        resources.dps[0].settings,
                        group_of(resources, "symmetric-key"),
                    )
                )
        assert seen[0] == seen[1]

    def test_without_one_nothing_is_exported(self, start: Start) -> None:
        assert start().server_ca_file is None
