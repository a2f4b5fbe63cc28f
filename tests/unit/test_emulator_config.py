from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from certs.authority import CertificateAuthority
from certs.pem import format_pem
from dps.allocation import AllocationPolicy
from dps.enrollment import ProvisioningStatus
from emulator.config import Config, ConfigError, default_config, load_config
from emulator.config_sections import EnrollmentSection, Section
from emulator.config_values import CertificateFile

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ONE_ATTESTATION = (
    "one of ca (dev-ca or a PEM file), ca_references (names of CAs uploaded to this DPS) and symmetric_key "
    "(generate, or its keys)"
)
KEY = "AAECAwQFBgcICQoLDA0ODw=="
FACTORY = """
    namespaces:
      factory: {policies: {default: , short: {validity_days: 7}}}
      lab: {policies: {lab: }}
    hubs:
      hub1: {namespace: factory}
      hub2: {namespace: lab, aliases: [other.localhost]}
    dps:
      dps1:
        namespace: factory
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hublet.yaml"


def load(path: Path, text: str) -> Config:
    path.write_text(dedent(text), encoding="utf-8")
    return load_config(path)


def problems_of(path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(path, text)
    return [str(problem) for problem in refusal.value.problems]


def problem_of(path: Path, text: str) -> str:
    (problem,) = problems_of(path, text)
    return problem


class TestDefault:
    def test_default_is_a_namespace_with_a_policy_and_a_hub_and_a_dps_linked_to_it(self) -> None:
        config = default_config()
        assert config.namespaces["default"].policies["default"].leaf_validity == timedelta(days=30)
        (hub,), (dps,) = config.hubs.values(), config.dps.values()
        assert (hub.host_name, hub.namespace) == ("localhost", "default")
        assert (dps.host_names, dps.namespace, dps.linked_hubs, dps.id_scope) == (("localhost",), "default", None, None)

    def test_default_enrollments_trust_the_development_ca_and_a_generated_key(self) -> None:
        (dps,) = default_config().dps.values()
        groups = dps.enrollment_groups
        assert (groups["dev-ca"].ca, groups["dev-ca"].credential_policy) == ("dev-ca", "default")
        assert groups["symmetric-key"].symmetric_key is not None
        assert groups["symmetric-key"].credential_policy == "default"

    def test_default_listens_on_loopback_at_the_ports_devices_expect(self) -> None:
        config = default_config()
        assert config.bind_addresses == ("127.0.0.1", "::1")
        ports = config.ports
        assert (ports.mqtt, ports.https, ports.https_fallback, ports.control) == (8883, 443, 8443, 8080)

    @pytest.mark.parametrize("text", ["", "ports: {mqtt: 18883}", "strict: false"])
    def test_file_without_resources_gets_the_default_ones(self, path: Path, text: str) -> None:
        config = load(path, text)
        assert config.namespaces == default_config().namespaces
        assert config.hubs == default_config().hubs
        assert config.dps == default_config().dps

    def test_file_with_some_resources_gets_no_others(self, path: Path) -> None:
        config = load(path, "hubs:\n  only:")
        assert list(config.hubs) == ["only"]
        assert (config.namespaces, config.dps) == ({}, {})


class TestResources:
    def test_first_hub_is_localhost_and_the_others_are_under_it(self, path: Path) -> None:
        config = load(path, "hubs: {first: , second: , third: {host_name: Hub.Example.com}}")
        assert [hub.host_name for hub in config.hubs.values()] == ["localhost", "second.localhost", "hub.example.com"]

    def test_hub_is_read(self, path: Path) -> None:
        config = load(path, FACTORY)
        assert config.hubs["hub2"].aliases == ("other.localhost",)
        assert load(path, "hubs: {hub1: {partitions: 32}}").hubs["hub1"].partitions == 32

    def test_dps_is_read(self, path: Path) -> None:
        dps = load(
            path,
            """
            hubs: {hub1: , hub2: }
            dps:
              dps1:
                id_scope: 0ne0012ABCD
                host_names: [dps.localhost, 127.0.0.1]
                linked_hubs: [hub2]
                retry_after_seconds: 1
                assigning_delay_seconds: 0.5
            """,
        ).dps["dps1"]
        assert (dps.id_scope, dps.host_names) == ("0ne0012ABCD", ("dps.localhost", "127.0.0.1"))
        assert (dps.linked_hubs, dps.retry_after_seconds, dps.assigning_delay_seconds) == (("hub2",), 1, 0.5)

    def test_policy_validity_may_be_short_in_test_mode(self, path: Path) -> None:
        text = "allow_short_validity: true\nnamespaces: {lab: {policies: {quick: {validity_days: 0.01}}}}"
        assert load(path, text).namespaces["lab"].policies["quick"].leaf_validity == timedelta(seconds=864)

    def test_process_settings_are_read(self, path: Path) -> None:
        config = load(
            path,
            """
            ports: {mqtt: 0, https: 0, https_fallback: null, control: 0}
            bind_addresses: [0.0.0.0]
            host_names: [laptop.example]
            strict: true
            quirks: {bare_certificate_array: true}
            """,
        )
        assert (config.ports.mqtt, config.ports.https_fallback) == (0, None)
        assert (config.bind_addresses, config.host_names) == (("0.0.0.0",), ("laptop.example",))
        assert config.strict
        assert config.quirks.bare_certificate_array


class TestEnrollments:
    def test_group_of_a_ca_file_beside_the_configuration(self, path: Path) -> None:
        ca = CertificateAuthority.create_root("factory", NOW).certificate
        (path.parent / "ca.pem").write_bytes(format_pem(ca, ca))
        group = self.group(path, "ca: ca.pem, credential_policy: SHORT, allocation: static, hubs: [hub1]")
        assert group.ca == CertificateFile(path.parent / "ca.pem", (ca, ca))
        assert (group.allocation, group.hubs) == (AllocationPolicy.STATIC, ("hub1",))
        assert group.credential_policy == "SHORT"

    def test_group_of_a_symmetric_key(self, path: Path) -> None:
        group = self.group(path, f"symmetric_key: {{primary: {KEY}}}, provisioning_status: disabled")
        assert group.symmetric_key is not None
        assert (group.symmetric_key.primary, group.symmetric_key.secondary) == (KEY, None)
        assert group.provisioning_status is ProvisioningStatus.DISABLED

    @pytest.mark.parametrize("value", ["generate", "{}"])
    def test_group_of_a_generated_key(self, path: Path, value: str) -> None:
        group = self.group(path, f"symmetric_key: {value}")
        assert group.symmetric_key is not None
        assert group.symmetric_key.primary is None

    def test_individual_of_a_certificate(self, path: Path) -> None:
        ca = CertificateAuthority.create_root("factory", NOW)
        leaf = ca.issue_onboarding("sensor-1", ca.key.public_key(), NOW, validity=timedelta(days=1))
        (path.parent / "sensor.pem").write_bytes(format_pem(leaf))
        text = FACTORY + "        individual_enrollments: {Sensor-1: {certificate: sensor.pem, device_id: sensor@1}}"
        section = load(path, text).dps["dps1"].individual_enrollments["Sensor-1"]
        assert section.certificate == CertificateFile(path.parent / "sensor.pem", (leaf,))
        assert section.device_id == "sensor@1"

    def test_keys_are_not_shown_in_the_configuration(self, path: Path) -> None:
        text = FACTORY + f"        enrollment_groups: {{g: {{symmetric_key: {{primary: {KEY}, secondary: {KEY}}}}}}}"
        assert KEY not in repr(load(path, text))

    @staticmethod
    def group(path: Path, settings: str):  # type: ignore[no-untyped-def]
        text = FACTORY + f"        linked_hubs: [hub1]\n        enrollment_groups: {{line-1: {{{settings}}}}}"
        return load(path, text).dps["dps1"].enrollment_groups["line-1"]


# Each text breaks one rule; the message is the whole of what is said about it.
BROKEN = {
    "faults: {profile: stormy}": "faults.profile: must be one of off, mild, storm, not 'stormy'",
    "faults: {rules: [{kind: throttled, operaton: register}]}": "faults.rules.0: unknown member 'operaton', "
    "did you mean 'operation'? (known: kind, operation, phase, device, service, enrollment, nth, probability, seed, "
    "limit, seconds, retryAfterSeconds, status)",
    "quota: often": "quota.mode: must be one of off, report, enforce, not 'often'",
    "- a": "must be a mapping (key: value)",
    "unknown: 1": "unknown: unknown key (known: namespaces, hubs, dps, ports, bind_addresses, host_names, strict, "
    "allow_short_validity, quirks, faults, quota)",
    "hubs: {hub1: {host_nam: x}}": "hubs.hub1.host_nam: unknown key, did you mean 'host_name'? "
    "(known: host_name, aliases, namespace, partitions, ca_certificates, disconnect_expired_certificates, "
    "issuing_delay_seconds)",
    f"hubs: {{hub1: {{ca_certificates: {['dev-ca'] * 26}}}}}": "hubs.hub1.ca_certificates: must have at most 25 "
    "elements, not 26",
    "dps: {dps1: {enrollment_groups: {g: {symmetric_key: {primry: x}}}}}": "dps.dps1.enrollment_groups.g"
    ".symmetric_key.primry: unknown key, did you mean 'primary'? (known: primary, secondary)",
    "namespaces: {lab: {policies: {quick: {days: 1}}}}": "namespaces.lab.policies.quick.days: unknown key "
    "(known: validity_days)",
    "hubs: 5": "hubs: must be a mapping (name: settings)",
    "hubs: {hub1: 5}": "hubs.hub1: must be a mapping (key: value)",
    "hubs: {hub1: {aliases: a}}": "hubs.hub1.aliases: must be a list",
    "hubs: {hub1: {aliases: [a, {}]}}": "hubs.hub1.aliases.1: must be a text, not a mapping",
    "hubs: {hub1: {aliases: [[]]}}": "hubs.hub1.aliases.0: must be a text, not a list",
    "hubs: {hub1: {host_name: }}": "hubs.hub1.host_name: must be a text, not nothing",
    "hubs: {hub1: {host_name: ''}}": "hubs.hub1.host_name: must be a text, not ''",
    "hubs: {hub1: {host_name: a..b}}": "hubs.hub1.host_name: must be a host name such as hub1.localhost or an IP "
    "address, not 'a..b'",
    "hubs: {hub1: {partitions: 33}}": "hubs.hub1.partitions: must be a whole number from 1 to 32, not 33",
    "hubs: {hub1: {partitions: 1.5}}": "hubs.hub1.partitions: must be a whole number from 1 to 32, not 1.5",
    "hubs: {hub1: {partitions: true}}": "hubs.hub1.partitions: must be a whole number from 1 to 32, not true",
    "hubs: {hub1: {partitions: two}}": "hubs.hub1.partitions: must be a whole number from 1 to 32, not 'two'",
    "hubs: {hub_1: }": "hubs.hub_1: a hub's name has 3 to 50 letters, digits and hyphens, no hyphen first or last",
    "hubs: {123: }": "hubs.123: must be a text, not 123: write it in quotes",
    "hubs: {ADR: }": "hubs.ADR: no hub may be called adr, dps, emulator",
    "hubs: {hub1: , HUB1: }": "hubs.HUB1: is the same name as 'hub1': names compare without case",
    "hubs: {hub1: {host_name: x}, hub2: {aliases: [y, X]}}": "hubs.hub2.aliases: 'x' belongs to hub 'hub1' already",
    "hubs: {hub1: {namespace: lab}}": "hubs.hub1.namespace: no namespace 'lab': there is none",
    "namespaces: {Lab: }": "namespaces.Lab: namespace name 'Lab' is not allowed: 3 to 64 lower-case letters, digits "
    "and hyphens, no hyphen first or last",
    "namespaces: {lab: {policies: {x: }}}": "namespaces.lab.policies.x: policy name 'x' is not allowed: 3 to 50 "
    "letters, digits and hyphens, no hyphen first",
    "namespaces: {lab: {policies: {one: , ONE: }}}": "namespaces.lab.policies.ONE: is the same name as 'one': names "
    "compare without case",
    "namespaces: {lab: {policies: {one: {validity_days: 5}}}}": "namespaces.lab.policies.one.validity_days: must be "
    "7 to 90 whole days (less with allow_short_validity: true), not 5",
    "namespaces: {lab: {policies: {one: {validity_days: 91}}}}": "namespaces.lab.policies.one.validity_days: must be "
    "a number from 0 to 90, not 91",
    "namespaces: {lab: {policies: {one: {validity_days: .nan}}}}": "namespaces.lab.policies.one.validity_days: must "
    "be a number from 0 to 90, not nan",
    "allow_short_validity: true\nnamespaces: {lab: {policies: {one: {validity_days: 0}}}}": "namespaces.lab.policies"
    ".one.validity_days: must be a minute to 90 days, not 0",
    "dps: {dps-: }": "dps.dps-: a DPS's name has 3 to 64 letters, digits and hyphens, no hyphen first or last",
    "dps: {dps1: {id_scope: one}}": "dps.dps1.id_scope: must be 0ne and eight hex digits, such as 0ne0012ABCD, "
    "not 'one'",
    "dps: {dps1: {id_scope: 0ne0012ABCD}, dps2: {id_scope: 0ne0012abcd}}": "dps.dps2.id_scope: '0ne0012abcd' belongs "
    "to DPS 'dps1' already",
    "dps: {dps1: {namespace: lab}}\nnamespaces: {lap: }": "dps.dps1.namespace: no namespace 'lab': did you mean 'lap'?",
    "dps: {dps1: {linked_hubs: [hub1]}}": "dps.dps1.linked_hubs: no linked hub 'hub1': there is none",
    "dps: {dps1: {retry_after_seconds: 301}}": "dps.dps1.retry_after_seconds: must be a whole number from 0 to 300, "
    "not 301",
    "dps: {dps1: {enrollment_groups: {a b: {ca: dev-ca}}}}": "dps.dps1.enrollment_groups.a b: an ID has 1 to 128 "
    "letters, digits and -._: and ends in a letter, a digit or a dash",
    "dps: {dps1: {enrollment_groups: {a: {ca: dev-ca}, A: {symmetric_key: }}}}": "dps.dps1.enrollment_groups.A: needs "
    f"{ONE_ATTESTATION}",
    "dps: {dps1: {enrollment_groups: {a: {ca: dev-ca}, A: {symmetric_key: generate}}}}": "dps.dps1.enrollment_groups.A:"
    " is the same name as 'a': names compare without case",
    "dps: {dps1: {enrollment_groups: {a: {ca: dev-ca}, b: {ca: dev-ca}}}}": "dps.dps1.enrollment_groups.b.ca: group "
    "'a' has this CA already",
    "dps: {dps1: {enrollment_groups: {a: {ca: dev-ca, allocation: static}}}}": "dps.dps1.enrollment_groups.a.hubs: a "
    "static allocation needs one hub here, not 0",
    "dps: {dps1: {assigning_delay_seconds: 601}}": "dps.dps1.assigning_delay_seconds: must be a number from 0 to 600, "
    "not 601",
    "dps: {dps1: {immediate_csr_errors: 1}}": "dps.dps1.immediate_csr_errors: must be true or false, not 1",
    "hubs: {hub1: {issuing_delay_seconds: -1}}": "hubs.hub1.issuing_delay_seconds: must be a number from 0 to 600, "
    "not -1",
    "dps: {dps1: {enrollment_groups: {g: }}}": f"dps.dps1.enrollment_groups.g: needs {ONE_ATTESTATION}",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, symmetric_key: generate}}}}": "dps.dps1.enrollment_groups.g: "
    f"needs {ONE_ATTESTATION}",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, ca_references: [mine]}}}}": "dps.dps1.enrollment_groups.g: "
    f"needs {ONE_ATTESTATION}",
    "dps: {dps1: {enrollment_groups: {g: {ca_references: [a, b, c]}}}}": "dps.dps1.enrollment_groups.g.ca_references: "
    "must have at most 2 elements, not 3",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, reprovision: always}}}}": "dps.dps1.enrollment_groups.g"
    ".reprovision: must be one of migrate, reset, never, not 'always'",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, initial_twin: {desired: {}}}}}}": "dps.dps1.enrollment_groups.g"
    ".initial_twin: must be a mapping with tags and properties.desired, not desired",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, initial_twin: {tags: 3}}}}}": "dps.dps1.enrollment_groups.g"
    ".initial_twin: is no twin: tags must be a JSON object, not int",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, initial_twin: 3}}}}": "dps.dps1.enrollment_groups.g"
    ".initial_twin: must be a mapping with tags and properties.desired, not 3",
    "dps: {dps1: {enrollment_groups: {g: {symmetric_key: secret}}}}": "dps.dps1.enrollment_groups.g.symmetric_key: "
    "must be generate, or a mapping of primary and perhaps secondary (the value is not shown)",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, provisioning_status: off}}}}": "dps.dps1.enrollment_groups.g"
    ".provisioning_status: must be one of enabled, disabled, not false",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, allocation: custom}}}}": "dps.dps1.enrollment_groups.g"
    ".allocation: must be one of hashed, geoLatency, static, not 'custom'",
    "dps: {dps1: {enrollment_groups: {g: {ca: dev-ca, credential_policy: default}}}}": "dps.dps1.enrollment_groups.g"
    ".credential_policy: needs the DPS to be linked to a namespace: set dps.dps1.namespace",
    "dps: {dps1: {individual_enrollments: {d: }}}": "dps.dps1.individual_enrollments.d: needs either certificate "
    "(a PEM file) or symmetric_key (generate, or its keys)",
    "ports: {mqtt: 70000}": "ports.mqtt: must be a whole number from 0 to 65535, not 70000",
    "ports: {mqtt: 443}": "ports.https: 443 is taken by ports.mqtt already",
    "bind_addresses: [localhost]": "bind_addresses.0: must be an IP address such as 127.0.0.1 or 0.0.0.0, "
    "not 'localhost'",
    "bind_addresses: []": "bind_addresses: must have at least one element",
    "strict: 1": "strict: must be true or false, not 1",
    "a: 1\na: 2": "key 'a' is there already on line 1",
}


class TestProblems:
    @pytest.mark.parametrize("text", BROKEN)
    def test_problem_names_the_field_the_value_and_what_is_allowed(self, path: Path, text: str) -> None:
        assert problem_of(path, text) == BROKEN[text]

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            (
                "credential_policy: defualt",
                "credential_policy: namespace 'factory' has no policy 'defualt': did you mean 'default'?",
            ),
            (
                "credential_policy: lab",
                "credential_policy: namespace 'factory' has no policy 'lab': there is default, short",
            ),
            ("hubs: [hub2]", "hubs: no linked hub 'hub2': did you mean 'hub1'?"),
        ],
    )
    def test_enrollment_refers_to_what_its_dps_has(self, path: Path, settings: str, expected: str) -> None:
        groups = f"        linked_hubs: [hub1]\n        enrollment_groups: {{line-1: {{ca: dev-ca, {settings}}}}}"
        assert problem_of(path, FACTORY + groups) == f"dps.dps1.enrollment_groups.line-1.{expected}"

    def test_certificates_are_not_issued_for_a_hub_of_another_namespace(self, path: Path) -> None:
        groups = "        enrollment_groups: {line-1: {ca: dev-ca, credential_policy: default}}"
        assert problem_of(path, FACTORY + groups) == (
            "dps.dps1.enrollment_groups.line-1.credential_policy: hub 'hub2' may be assigned and is not linked to "
            "namespace 'factory'"
        )

    def test_all_problems_come_at_once_with_their_lines(self, path: Path) -> None:
        text = "hubs:\n  hub1:\n    partitions: 0\nports:\n  mqtt: x\nstrict: maybe\n"
        with pytest.raises(ConfigError) as refusal:
            load(path, text)
        assert str(refusal.value) == (
            f"{path}: 3 problems\n"
            "  line 3: hubs.hub1.partitions: must be a whole number from 1 to 32, not 0\n"
            "  line 5: ports.mqtt: must be a whole number from 0 to 65535, not 'x'\n"
            "  line 6: strict: must be true or false, not 'maybe'"
        )

    def test_linked_hub_without_namespace_is_fine_for_an_enrollment_without_policy(self, path: Path) -> None:
        text = "hubs: {hub1: }\ndps: {dps1: {enrollment_groups: {g: {ca: dev-ca}}}}"
        assert load(path, text).dps["dps1"].enrollment_groups["g"].credential_policy is None

    def test_malformed_device_id_is_refused(self, path: Path) -> None:
        text = "dps: {dps1: {individual_enrollments: {d: {symmetric_key: generate, device_id: a b}}}}"
        assert problem_of(path, text).startswith("dps.dps1.individual_enrollments.d.device_id: deviceId 'a b' is not 1")

    def test_unknown_namespace_is_one_problem_only(self, path: Path) -> None:
        text = "dps: {dps1: {namespace: lab, enrollment_groups: {g: {ca: dev-ca, credential_policy: x}}}}"
        assert problem_of(path, text) == "dps.dps1.namespace: no namespace 'lab': there is none"

    def test_long_value_is_cut(self, path: Path) -> None:
        assert problem_of(path, f"strict: {'x' * 1000}").endswith("xxx...")

    @pytest.mark.parametrize("key", ["c2hvcnQ=", "not base64 at all", "'é'", "1234567890", "A" * 100])
    def test_malformed_key_is_refused_and_never_shown(self, path: Path, key: str) -> None:
        text = f"dps: {{dps1: {{enrollment_groups: {{g: {{symmetric_key: {{primary: {key}}}}}}}}}}}"
        with pytest.raises(ConfigError) as refusal:
            load(path, text)
        assert str(refusal.value).endswith(
            "g.symmetric_key.primary: must be base64 of 16 to 64 bytes (the value is not shown)"
        )
        assert refusal.value.__cause__ is None
        assert refusal.value.__suppress_context__

    def test_missing_file_is_named(self, path: Path) -> None:
        with pytest.raises(ConfigError) as refusal:
            load_config(path)
        assert str(refusal.value) == f"{path}: 1 problem\n  cannot be read: No such file or directory"

    def test_file_that_is_not_utf8_is_refused(self, path: Path) -> None:
        path.write_bytes(b"hubs: \xff")
        with pytest.raises(ConfigError, match="is not UTF-8 at byte 6"):
            load_config(path)

    def test_line_of_a_yaml_error_is_named(self, path: Path) -> None:
        with pytest.raises(ConfigError, match="line 2: not valid YAML: "):
            load(path, "hubs:\n  hub1: [")


class TestCertificateFiles:
    def problem(self, path: Path) -> str:
        return problem_of(path, "dps: {dps1: {enrollment_groups: {g: {ca: ca.pem}}}}").partition(": ")[2]

    def test_missing_file_is_named(self, path: Path) -> None:
        assert self.problem(path) == f"{path.parent / 'ca.pem'} cannot be read: No such file or directory"

    def test_file_without_certificate_is_refused(self, path: Path) -> None:
        (path.parent / "ca.pem").write_text("hello")
        assert self.problem(path) == f"{path.parent / 'ca.pem'} holds no certificate in PEM"

    def test_more_than_two_certificates_are_refused(self, path: Path) -> None:
        ca = CertificateAuthority.create_root("factory", NOW).certificate
        (path.parent / "ca.pem").write_bytes(format_pem(ca, ca, ca))
        assert self.problem(path).endswith("ca.pem holds 3 certificates: a primary and a secondary are allowed")

    def test_ca_of_another_group_is_refused(self, path: Path) -> None:
        ca, other = (CertificateAuthority.create_root("factory", NOW).certificate for _ in range(2))
        (path.parent / "one.pem").write_bytes(format_pem(ca))
        (path.parent / "two.pem").write_bytes(format_pem(other, ca))
        assert problem_of(path, "dps: {dps1: {enrollment_groups: {a: {ca: one.pem}, b: {ca: two.pem}}}}") == (
            "dps.dps1.enrollment_groups.b.ca: group 'a' has this CA already"
        )

    def test_leaf_is_no_ca(self, path: Path) -> None:
        ca = CertificateAuthority.create_root("factory", NOW)
        leaf = ca.issue_onboarding("sensor", ca.key.public_key(), NOW, validity=timedelta(days=1))
        (path.parent / "ca.pem").write_bytes(format_pem(leaf))
        assert "holds CN=sensor, which is not a CA certificate" in self.problem(path)


class TestExample:
    """The example in docs/ is the reference of all settings: it must load, and name every one."""

    PATH = Path(__file__).parents[2] / "docs" / "hublet.example.yaml"

    def test_example_loads(self) -> None:
        config = load_config(self.PATH)
        assert config.dps["dps1"].id_scope == "0ne0012ABCD"

    def test_example_shows_the_defaults_of_the_process(self) -> None:
        config, default = load_config(self.PATH), default_config()
        for setting in (
            "ports",
            "bind_addresses",
            "host_names",
            "strict",
            "allow_short_validity",
            "quirks",
            "faults",
            "quota",
        ):
            assert getattr(config, setting) == getattr(default, setting)

    @pytest.mark.parametrize("section", [*Section.__subclasses__(), *EnrollmentSection.__subclasses__()])
    def test_example_names_every_setting(self, section: type[Section]) -> None:
        text = self.PATH.read_text(encoding="utf-8")
        for setting in section.model_fields:
            assert f"{setting}:" in text
