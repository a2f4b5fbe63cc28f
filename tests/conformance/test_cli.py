"""The command line as its users call it."""

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conformance.plain_device import DpsClient, HubClient, certificates_of, csr_text, p256, tls_context
from tests.conformance.running_emulator import REPOSITORY, RunningEmulator, run_cli
from tests.conformance.test_state_directory import FREE_PORTS, assert_refused

# The default resources, but devices need not wait three seconds for their first poll.
IMPATIENT = """
namespaces: {default: {policies: {default: {}}}}
hubs: {hub1: {namespace: default}}
dps:
  dps1:
    namespace: default
    retry_after_seconds: 1
    enrollment_groups:
      dev-ca: {ca: dev-ca, credential_policy: default}
      symmetric-key: {symmetric_key: generate, credential_policy: default}
"""
SEVERAL = """
namespaces:
  factory: {policies: {long: {validity_days: 90}, short: {validity_days: 7}}}
  field: {policies: {default: {}}}
hubs:
  first: {namespace: factory}
  second: {namespace: factory, aliases: [second.example]}
  third: {namespace: field, host_name: third.example}
dps:
  factory-dps:
    namespace: factory
    linked_hubs: [first, second]
    id_scope: 0ne00000F01
    host_names: [localhost, dps.example]
    enrollment_groups:
      short-lived: {ca: dev-ca, credential_policy: short, hubs: [second], allocation: static}
  field-dps:
    namespace: field
    linked_hubs: [third]
    retry_after_seconds: 1
    enrollment_groups: {keys: {symmetric_key: generate, credential_policy: default}}
host_names: [gateway.example]
"""


# --- up, and the end of it ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_emulator_in_order(start: Any, tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0, though a device is connected; the wait file and the run file are gone."""
    emulator: RunningEmulator = start()
    context = tls_context(emulator.ca_file, emulator.onboarding_pair("connected", tmp_path))
    dps = DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "connected").connected()
    assert emulator.stop(number) == 0
    assert dps.wait_closed()
    assert not (tmp_path / "ready.json").exists()
    assert not (emulator.state_dir / "run.json").exists()
    assert "Traceback" not in emulator.log.read_text()


def test_second_start_finds_everything_again(start: Any, tmp_path: Path) -> None:
    """Same ID scope, same keys, same server CA, same devices; nothing is created a second time."""
    emulator: RunningEmulator = start(config=IMPATIENT)
    before, ca = emulator.info, emulator.ca_file.read_bytes()
    onboarded = emulator.cli("device", "onboard", "--registration-id", "again", "--directory", str(tmp_path / "d"))
    assert onboarded.returncode == 0, onboarded.stderr
    assert emulator.stop() == 0

    stopped = json.loads(emulator.cli("info", "--json").stdout)
    assert stopped == {**before, "ports": None}
    events = emulator.cli("events", "--json").stdout
    assert json.loads(events)["deviceId"] == "again"

    since = emulator.log_end()
    emulator = start()
    assert {**emulator.info, "ports": None} == stopped
    assert emulator.ca_file.read_bytes() == ca
    assert "created" not in emulator.log.read_bytes()[since:].decode()
    again = emulator.cli("device", "onboard", "--registration-id", "again", "--directory", str(tmp_path / "d"))
    assert "certificate" in again.stdout
    assert [event["body"]["number"] for event in emulator.events("again")] == [0, 0]


def test_ephemeral_emulator_leaves_nothing_behind(start: Any, tmp_path: Path) -> None:
    """No state directory is made; what a client needs comes from the control API, and the next start is a new world."""
    emulator: RunningEmulator = start("--ephemeral", config=IMPATIENT)
    assert not emulator.state_dir.exists()
    assert emulator.info["serverCaFile"] is None
    (tmp_path / "ca.pem").write_bytes(emulator.get("/ca.pem"))
    group = emulator.info["enrollmentGroups"][1]
    onboarded = run_cli(
        "device", "onboard", "--host", "localhost", "--port", str(emulator.mqtt_port),
        "--id-scope", emulator.id_scope(), "--ca-file", str(tmp_path / "ca.pem"),
        "--registration-id", "guest", "--group-key", group["primaryKey"],
        "--directory", str(tmp_path / "guest"),
    )  # fmt: skip
    assert onboarded.returncode == 0, onboarded.stderr
    assert len(emulator.events("guest")) == 1
    assert emulator.stop() == 0
    assert not emulator.state_dir.exists()
    assert start("--ephemeral").id_scope() != emulator.id_scope()


def test_health_says_who_is_connected(emulator: RunningEmulator, tmp_path: Path) -> None:
    before = json.loads(emulator.get("/health"))
    context = tls_context(emulator.ca_file, emulator.onboarding_pair("healthy", tmp_path))
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "healthy").connected():
        health = json.loads(emulator.get("/health"))
    assert health["status"] == "ready"
    assert health["connectedDevices"] == before["connectedDevices"] + 1
    assert health["now"] > before["now"]


def may_connect(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family)) as sock:
        sock.settimeout(2)
        return sock.connect_ex((address, port)) == 0


def test_control_port_is_on_loopback_only(start: Any) -> None:
    """Wherever devices may come from, the control API answers on 127.0.0.1 and nowhere else."""
    config = "bind_addresses: [0.0.0.0]\nports: {mqtt: 0, https: 0, control: 0}\n"
    emulator: RunningEmulator = start(config=config)
    # 127.0.0.2 stands for any other address of the machine.
    assert may_connect("127.0.0.2", emulator.mqtt_port)
    assert may_connect("127.0.0.2", emulator.https_port)
    assert may_connect("127.0.0.1", emulator.control_port)
    assert not may_connect("127.0.0.2", emulator.control_port)
    assert not may_connect("::1", emulator.control_port)


def test_devices_are_heard_on_loopback_only_by_default(emulator: RunningEmulator) -> None:
    for port in (emulator.mqtt_port, emulator.https_port):
        assert may_connect("127.0.0.1", port)
        assert not may_connect("127.0.0.2", port)


# --- info, env, hosts ---


def test_welcome_and_info_show_how_to_connect(emulator: RunningEmulator) -> None:
    """A person finds scope, keys, CA file and ports in the log of `up` and in `info`."""
    shown = emulator.cli("info").stdout
    for text in (emulator.log.read_text(), shown):
        assert emulator.id_scope() in text
        assert emulator.group_key() in text
        assert str(emulator.ca_file) in text
        assert f"MQTT on {emulator.mqtt_port}, HTTPS on {emulator.https_port}" in text
    assert json.loads(emulator.cli("info", "--json").stdout) == emulator.info


def test_env_can_be_evaluated_by_a_shell(emulator: RunningEmulator) -> None:
    """The names are those that the SDK's samples read."""
    command = f"{shlex.quote(sys.executable)} -m emulator env --state-dir {shlex.quote(str(emulator.state_dir))}"
    script = f'eval "$({command})"; env -0'
    shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, cwd=REPOSITORY, check=True)
    variables = dict(line.partition("=")[::2] for line in shell.stdout.decode().split("\0"))
    assert variables["PROVISIONING_HOST"] == "localhost"
    assert variables["PROVISIONING_IDSCOPE"] == emulator.id_scope()
    assert variables["IOTHUB_CONNECTION_STRING"] == emulator.info["hubs"][0]["connectionString"]
    assert variables["HUBLET_CA_FILE"] == str(emulator.ca_file)
    assert variables["HUBLET_MQTT_PORT"] == str(emulator.mqtt_port)


def test_hosts_has_nothing_to_say_for_localhost(emulator: RunningEmulator) -> None:
    assert emulator.cli("hosts").stdout.startswith("#")


def test_several_hubs_and_namespaces(start: Any, tmp_path: Path) -> None:
    """Each name of the configuration is in the hosts lines and the server certificate, and devices land where told."""
    emulator: RunningEmulator = start(config=SEVERAL)
    names = ["dps.example", "second.localhost", "second.example", "third.example"]
    assert emulator.cli("hosts").stdout.splitlines() == [f"127.0.0.1 {name}" for name in names]
    assert emulator.id_scope("factory-dps") == "0ne00000F01"
    assert [hub["namespace"] for hub in emulator.info["hubs"]] == ["factory", "factory", "field"]

    key, pair = p256(), emulator.onboarding_pair("worker", tmp_path)
    context = tls_context(emulator.ca_file, pair)
    with DpsClient.make(emulator.mqtt_port, context, "0ne00000F01", "worker").connected() as dps:
        shown = dps.socket.getpeercert()
        answer = dps.onboard({"csr": csr_text("worker", key)})
    assert shown is not None
    assert {name for _, name in shown["subjectAltName"]} >= {*names, "localhost", "gateway.example", "127.0.0.1"}
    assert answer.state["assignedHub"] == "second.localhost"
    leaf = certificates_of(answer.state["issuedCertificateChain"])[0]
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 7

    scope, group_key = emulator.id_scope("field-dps"), emulator.group_key("field-dps")
    # third.example is not in this machine's hosts file: the device is told to dial localhost for it.
    refused = run_cli(
        "device", "onboard", "--host", "localhost", "--port", str(emulator.mqtt_port), "--id-scope", scope,
        "--ca-file", str(emulator.ca_file), "--registration-id", "roamer", "--group-key", group_key,
        "--directory", str(tmp_path / "roamer"),
    )  # fmt: skip
    assert_refused(refused, "roamer", "third.example")

    before = emulator.info["provisioningServices"]
    assert emulator.stop() == 0
    assert start().info["provisioningServices"] == before, "a state keeps to the configuration it was made with"


# --- wrong usage ---


def test_wrong_configuration_names_every_problem_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "hublet.yaml").write_text(
        "namespaces:\n  factory: {policies: {default: {validity_days: 3}}}\n"
        "hubs:\n  hub1: {namespace: factroy}\ndps:\n  dps1: {linked_hubs: [hub9]}\n"
    )
    answer = run_cli(
        "up", "--config", str(tmp_path / "hublet.yaml"), "--state-dir", str(tmp_path / "state"), *FREE_PORTS
    )
    assert_refused(answer, "3 problems")
    lines = answer.stderr.splitlines()[1:]
    assert lines[0].startswith("  line 2: namespaces.factory.policies.default.validity_days: must be 7 to 90")
    assert lines[1] == "  line 4: hubs.hub1.namespace: no namespace 'factroy': did you mean 'factory'?"
    assert lines[2] == "  line 6: dps.dps1.linked_hubs: no linked hub 'hub9': did you mean 'hub1'?"


def test_missing_configuration_is_named(tmp_path: Path) -> None:
    assert_refused(run_cli("up", "--config", str(tmp_path / "none.yaml"), "--ephemeral"), str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    "command",
    [["info"], ["events"], ["reset", "--yes"], ["device", "onboard", "--registration-id", "x"]],
    ids=["info", "events", "reset", "onboard"],
)
def test_command_without_a_state_says_so(tmp_path: Path, command: list[str]) -> None:
    """No command but `up` makes a state directory."""
    answer = run_cli(*command, "--state-dir", str(tmp_path / "nowhere"))
    assert_refused(answer, "nowhere holds no hublet state")
    assert not (tmp_path / "nowhere").exists()


# --- dev-ca, events, reset ---


def test_dev_ca_issues_files_that_openssl_takes(emulator: RunningEmulator, tmp_path: Path) -> None:
    """A key of mode 0600 and a chain under the development root, of the key type asked for."""
    answer = emulator.cli(
        "dev-ca",
        "issue",
        "--registration-id",
        "sensor",
        "--out",
        str(tmp_path),
        "--key-type",
        "RSA-2048",
        "--days",
        "2",
    )
    assert answer.stdout.splitlines() == [str(tmp_path / "sensor.key.pem"), str(tmp_path / "sensor.chain.pem")]
    assert stat.S_IMODE((tmp_path / "sensor.key.pem").stat().st_mode) == 0o600
    chain, anchors = tmp_path / "sensor.chain.pem", emulator.state_dir / "dev-ca.pem"
    leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    assert isinstance(leaf.public_key(), rsa.RSAPublicKey)
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 2
    command = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", anchors, "-untrusted", chain, chain]
    assert subprocess.run(command, capture_output=True, check=False).stdout.strip() == f"{chain}: OK".encode()


def test_dev_ca_does_not_write_outside_its_directory(emulator: RunningEmulator, tmp_path: Path) -> None:
    answer = emulator.cli("dev-ca", "issue", "--registration-id", "../up", "--out", str(tmp_path / "out"))
    assert_refused(answer, "'../up' is not 1 to 128 letters")


@pytest.mark.parametrize(
    ("name", "rule"),
    [("", "1 to 128"), ("sensor ä", "letters, digits"), ("x" * 129, "1 to 128"), ("x" * 65, "at most 64")],
    ids=["empty", "not ASCII", "too long for DPS", "too long for a common name"],
)
def test_dev_ca_issues_for_no_name_that_dps_or_a_certificate_refuses(
    emulator: RunningEmulator, tmp_path: Path, name: str, rule: str
) -> None:
    answer = emulator.cli("dev-ca", "issue", "--registration-id", name, "--out", str(tmp_path / "out"))
    assert_refused(answer, f"registration ID {name!r}", rule)
    assert not (tmp_path / "out").exists()


def test_events_can_be_followed(emulator: RunningEmulator, tmp_path: Path) -> None:
    """`--follow` shows what is there, then what comes, until Ctrl-C."""
    context = tls_context(emulator.ca_file, emulator.onboarding_pair("followed", tmp_path))
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "followed").connected() as dps:
        dps.onboard({})
    command = [sys.executable, "-m", "emulator", "events", "--follow", "--device", "followed"]
    command += ["--state-dir", str(emulator.state_dir)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with HubClient.make(emulator.mqtt_port, context, "localhost", "followed").connected() as hub:
        hub.send_telemetry({"number": 1}, "colour=blue")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment) as follower:
            assert follower.stdout is not None
            first = follower.stdout.readline()
            hub.send_telemetry({"number": 2})
            second = follower.stdout.readline()
            follower.send_signal(signal.SIGINT)
            assert follower.wait(10) == 0
    assert "followed" in first
    assert "colour=blue" in first
    assert '{"number": 1}' in first
    assert '{"number": 2}' in second


def test_reset_asks_and_then_throws_everything_away(start: Any) -> None:
    emulator: RunningEmulator = start()
    id_scope = emulator.id_scope()
    assert emulator.stop() == 0
    command = ["reset", "--state-dir", str(emulator.state_dir)]
    assert run_cli(*command, input="n\n").returncode == 1
    assert (emulator.state_dir / "hublet.sqlite").exists()
    assert run_cli(*command, input="y\n").returncode == 0
    assert not emulator.state_dir.exists()
    assert start().id_scope() != id_scope


def test_reset_leaves_what_is_not_hublets(start: Any) -> None:
    """Somebody may have named a directory that holds other things too."""
    emulator: RunningEmulator = start()
    assert emulator.stop() == 0
    (emulator.state_dir / "notes.txt").write_text("mine")
    answer = run_cli("reset", "--yes", "--state-dir", str(emulator.state_dir))
    assert answer.returncode == 0, answer.stderr
    assert "not hublet's stay" in answer.stdout
    assert [each.name for each in emulator.state_dir.iterdir()] == ["notes.txt"]
