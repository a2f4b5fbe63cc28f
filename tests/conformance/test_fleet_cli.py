"""`hublet fleet` as a user calls it, against a real emulator process."""

import os
import pty
import re
import resource
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from certs.keys import KeyType
from certs.pem import format_pem, format_private_key
from device_sim.key_pool import read_key_pool
from device_sim.sas import derive_device_key
from device_sim.scenario import preset_names
from device_sim.summary_json import parse_summary
from emulator.bootstrap import open_dev_ca
from tests.conformance.running_emulator import REPOSITORY, RunningEmulator, run_cli, start_emulator

CONFIG = """
namespaces: {factory: {policies: {default: {validity_days: 30}}}}
hubs: {hub1: {namespace: factory}}
dps:
  dps1:
    namespace: factory
    retry_after_seconds: 0
    enrollment_groups:
      by-ca: {ca: dev-ca, credential_policy: default}
      by-key: {symmetric_key: generate, credential_policy: default}
"""

TWO_HUBS = """
namespaces: {factory: {policies: {default: {}}}}
hubs:
  hub-europe: {host_name: hub-europe.localhost, namespace: factory}
  hub-us: {host_name: hub-us.localhost, namespace: factory}
dps:
  dps-main:
    namespace: factory
    retry_after_seconds: 0
    enrollment_groups: {all: {ca: dev-ca, credential_policy: default}}
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An emulator whose DPS lets devices ask again at once."""
    running = start_emulator(tmp_path_factory.mktemp("quick"), config=CONFIG)
    yield running
    running.stop()


def fleet(emulator: RunningEmulator, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_cli("fleet", "run", *arguments, "--state-dir", str(emulator.state_dir), **options)


# --- keys and presets ---


def test_pool_of_keys_is_made_private_and_kept(tmp_path: Path) -> None:
    """A second call leaves a pool that will do alone; a larger one replaces it."""
    pool = tmp_path / "keys.pool"
    command = ["fleet", "keys", "--type", "P-256", "--out", str(pool), "--count"]
    made = run_cli(*command, "20")
    assert made.returncode == 0, made.stderr
    assert "P-256 keys: 20 in" in made.stderr
    first = pool.read_bytes()
    assert stat.S_IMODE(pool.stat().st_mode) == 0o600
    assert len(read_key_pool(pool)) == 20
    assert "there already" in run_cli(*command, "10").stderr
    assert pool.read_bytes() == first
    assert run_cli(*command, "21").returncode == 0
    assert len(read_key_pool(pool)) == 21


@pytest.mark.parametrize("content", ["P-384", "notes of mine"])
def test_other_file_is_not_overwritten_by_keys(content: str, tmp_path: Path) -> None:
    """What is no pool, or one of other keys, is somebody's."""
    path = tmp_path / "keys.pool"
    if content == "P-384":
        assert run_cli("fleet", "keys", "--count", "1", "--type", content, "--out", str(path)).returncode == 0
    else:
        path.write_text(content)
    before = path.read_bytes()
    answer = run_cli("fleet", "keys", "--count", "2", "--out", str(path))
    assert answer.returncode == 1
    assert "it is not overwritten" in answer.stderr
    assert path.read_bytes() == before


def test_presets_are_listed_and_printed_as_files_to_begin_with() -> None:
    """The list names each with what happens; one by name is its YAML."""
    listed = run_cli("fleet", "presets")
    assert all(name in listed.stdout for name in preset_names())
    printed = run_cli("fleet", "presets", "soak")
    assert yaml.safe_load(printed.stdout)["name"] == "soak"
    unknown = run_cli("fleet", "presets", "soap")
    assert unknown.returncode == 1
    assert "no preset has this name" in unknown.stderr


# --- scenarios that cannot be used ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-thing"], "neither a file nor a preset"),
        (["--devices", "0"], "devices: must be greater than or equal to 1, not 0"),
        (["soak", "--set", "behavior.x=1"], "did you mean 'behaviour'?"),
        (["--threshold", "p99.registraton < 8 s"], "did you mean 'registration'?"),
    ],
)
def test_bad_scenario_is_told_with_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    """No emulator is needed to find out."""
    answer = run_cli("fleet", "run", *arguments, "--state-dir", str(tmp_path))
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_fleet_without_an_endpoint_says_what_is_missing(tmp_path: Path) -> None:
    """Neither state nor --host."""
    answer = run_cli("fleet", "run", "--state-dir", str(tmp_path / "none"))
    assert answer.returncode == 2
    assert "run `hublet up` first" in answer.stderr


def test_credential_of_the_local_emulator_needs_it(tmp_path: Path) -> None:
    """Another endpoint does not know the development CA, nor a group's key."""
    elsewhere = ["fleet", "run", "--host", "localhost", "--id-scope", "0ne00000000", "--state-dir", str(tmp_path)]
    assert "development CA is only there for the local emulator" in run_cli(*elsewhere).stderr
    answer = run_cli(*elsewhere, "--set", "credential.kind=group-key")
    assert answer.returncode == 2
    assert "no symmetric-key group" in answer.stderr


def test_fleet_that_the_file_limit_does_not_allow_is_told_before_anything_is_made(quick: RunningEmulator) -> None:
    """The message names the limit, and how many devices it allows."""

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))

    answer = fleet(quick, "--devices", "1000", preexec_fn=limit_files)
    assert answer.returncode == 2
    assert "1,000 devices need" in answer.stderr
    assert "this process may have 500" in answer.stderr
    assert "certificates" not in answer.stdout


def test_file_of_trust_anchors_without_any_is_told(quick: RunningEmulator, tmp_path: Path) -> None:
    """It names the file."""
    (tmp_path / "ca.pem").write_text("nothing")
    answer = fleet(quick, "--devices", "1", "--ca-file", str(tmp_path / "ca.pem"))
    assert answer.returncode == 2
    assert "ca.pem holds no certificate in PEM" in answer.stderr


# --- runs ---


def test_fleet_onboards_works_and_is_counted(quick: RunningEmulator, tmp_path: Path) -> None:
    """Every device is onboarded with a key of the pool, sends its messages, and appears in the summary."""
    pool = tmp_path / "keys.pool"
    assert run_cli("fleet", "keys", "--count", "20", "--out", str(pool)).returncode == 0
    scenario = tmp_path / "small.yaml"
    scenario.write_text(
        "name: small\ndevices: 20\nid_template: 'small-{number:02}'\nkeys: keys.pool\n"
        "arrival: {kind: rate, per_second: 40}\nbehaviour: {telemetry: {messages: 3}}\n"
        "thresholds: [errors == 0, onboarded == 20, telemetry == 60, p99.registration < 20 s]\n"
    )
    answer = fleet(quick, str(scenario), "--json", "-")
    assert answer.returncode == 0, answer.stderr
    verdicts = parse_summary(answer.stdout).verdicts
    assert [verdict.passed for verdict in verdicts] == [True] * 4
    assert answer.stderr.startswith("small\n20 devices, DPS localhost:")
    events = [each for each in quick.events() if each["deviceId"].startswith("small-")]
    assert len(events) == 60
    assert {each["deviceId"] for each in events} == {f"small-{number:02}" for number in range(1, 21)}


def test_missed_threshold_is_exit_code_1_and_said(quick: RunningEmulator) -> None:
    """The terminal says what was measured."""
    answer = fleet(quick, "--devices", "2", "--set", "id_template=missed-{number}", "--threshold", "onboarded > 2")
    assert answer.returncode == 1
    assert "onboarded > 2" in answer.stdout


def test_refused_devices_are_counted_by_reason_and_fail_the_run(quick: RunningEmulator) -> None:
    """Without thresholds any error makes the exit code 1."""
    answer = fleet(
        quick, "--devices", "3", "--set", "credential={kind: group-key, key: c2VjcmV0c2VjcmV0c2VjcmV0}",
        "--set", "retry.attempts=1", "--json", "-",
    )  # fmt: skip
    assert answer.returncode == 1
    (error,) = parse_summary(answer.stdout).snapshot.errors
    assert (error.reason, error.count) == ("ProvisioningError 401000", 3)


@pytest.mark.parametrize("kind", ["group-key", "group-key in a file", "individual-keys", "ca"])
def test_every_kind_of_credential_onboards(kind: str, quick: RunningEmulator, tmp_path: Path) -> None:
    """Keys derived from a group's, keys of a file, and certificates of a CA that is given."""
    name = f"cred-{kind.partition(' ')[0]}{len(kind)}"
    credentials = {
        "group-key": {"kind": "group-key"},
        "group-key in a file": {"kind": "group-key", "key_file": "group.key"},
        "individual-keys": {"kind": "individual-keys", "file": "keys.csv"},
        "ca": {"kind": "ca", "certificate": "ca.pem", "key": "ca.key", "onboarding_key_type": "P-384"},
    }
    (tmp_path / "group.key").write_text(quick.group_key() + "\n")
    lines = [f"{name}-{number},{derive_device_key(quick.group_key(), f'{name}-{number}')}\n" for number in (1, 2)]
    (tmp_path / "keys.csv").write_text("".join(lines))
    authority = open_dev_ca(quick.state_dir)
    assert authority is not None
    (tmp_path / "ca.pem").write_bytes(format_pem(authority.certificate))
    (tmp_path / "ca.key").write_bytes(format_private_key(authority.key))
    scenario = tmp_path / "credentials.yaml"
    values = {"devices": 2, "id_template": name + "-{number}", "credential": credentials[kind]}
    scenario.write_text(yaml.safe_dump({**values, "behaviour": {"telemetry": {"messages": 1}}}))
    answer = fleet(quick, str(scenario), "--threshold", "onboarded == 2", "--threshold", "errors == 0")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {each["deviceId"] for each in quick.events() if name in each["deviceId"]} == {f"{name}-1", f"{name}-2"}


def test_fleet_goes_to_any_endpoint_that_is_named(quick: RunningEmulator, tmp_path: Path) -> None:
    """Host, ports, ID scope, trust anchors and a key are all that is needed; no state directory is."""
    (tmp_path / "group.key").write_text(quick.group_key())
    scenario = tmp_path / "elsewhere.yaml"
    scenario.write_text("credential: {kind: group-key, key_file: group.key}\nid_template: elsewhere-{number}\n")
    answer = run_cli(
        "fleet", "run", str(scenario), "--devices", "2", "--host", "127.0.0.1", "--id-scope", quick.id_scope(),
        "--port", str(quick.mqtt_port), "--ca-file", str(quick.ca_file), "--state-dir", str(tmp_path / "none"),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 onboarded" in answer.stdout


def test_fleet_without_csr_works_with_its_onboarding_credential(quick: RunningEmulator) -> None:
    """A symmetric key is good for the hub, too."""
    answer = fleet(
        quick, "--devices", "2", "--no-csr", "--messages", "1", "--set", "credential.kind=group-key",
        "--set", "id_template=nocsr-{number}", "--threshold", "telemetry == 2",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_pool_of_another_type_is_refused(quick: RunningEmulator, tmp_path: Path) -> None:
    """The scenario wants P-256, the file has P-384."""
    pool = tmp_path / "keys.pool"
    run_cli("fleet", "keys", "--count", "1", "--type", KeyType.P384.value, "--out", str(pool))
    answer = fleet(quick, "--devices", "1", "--keys", str(pool))
    assert answer.returncode == 2
    assert "holds P-384 keys, the scenario wants P-256" in answer.stderr


def test_report_and_json_are_written(quick: RunningEmulator, tmp_path: Path) -> None:
    """A page and the numbers, in a directory that is made."""
    out, numbers = tmp_path / "report" / "of-today", tmp_path / "numbers.json"
    answer = fleet(
        quick, "--devices", "2", "--set", "id_template=rep-{number}", "--report", str(out), "--json", str(numbers)
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert str(out / "report.html") in answer.stdout
    assert "<html" in (out / "report.html").read_text()
    summary = parse_summary(numbers.read_text())
    assert summary.snapshot.states["finished"] == 2
    assert "id_template: rep-{number}" in summary.scenario_text
    assert {"hublet", "cryptography"} <= set(summary.versions)


def test_results_that_could_not_be_written_stop_the_run_before_it_begins(
    quick: RunningEmulator, tmp_path: Path
) -> None:
    """Nobody wants to learn after half an hour that a directory is missing."""
    answer = fleet(quick, "--devices", "1", "--json", str(tmp_path / "none" / "numbers.json"))
    assert answer.returncode == 2
    assert "there is no directory" in answer.stderr


@pytest.mark.parametrize(
    ("preset", "arguments"),
    [
        ("onboard-1000", ["--threshold", "onboarded == 4", "--threshold", "telemetry == 4"]),
        (
            "reconnect-storm",
            ["--set", "behaviour.reconnect.after_seconds=0.5", "--set", "behaviour.reconnect.every_seconds=1.5",
             "--threshold", "reconnects == 12"],
        ),
        ("renewal-herd", ["--set", "behaviour.renewal.after_seconds=0.5", "--threshold", "renewed == 4"]),
        ("steady-telemetry", ["--duration", "3", "--threshold", "telemetry >= 4"]),
        ("soak", ["--rate", "10", "--set", "behaviour.telemetry.messages=2", "--threshold", "telemetry == 8"]),
    ],
)  # fmt: skip
def test_preset_does_in_small_what_it_says(preset: str, arguments: list[str], quick: RunningEmulator) -> None:
    """Four devices each, with the waits shortened; every preset ends by itself."""
    answer = fleet(
        quick, preset, "--devices", "4", *arguments, "--threshold", "errors == 0",
        "--set", f"id_template={preset}-{{number}}",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_devices_go_back_to_dps_and_to_the_hub_it_then_assigns(start: Any) -> None:
    """The preset for two hubs: devices are spread, and register again."""
    emulator = start(config=TWO_HUBS)
    answer = fleet(
        emulator, "reprovision-two-hubs", "--devices", "8", "--duration", "6", "--message-rate", "2",
        "--set", "behaviour.reconnect.after_seconds=1", "--set", "behaviour.reconnect.every_seconds=1",
        "--threshold", "reconnects == 16", "--threshold", "errors == 0", "--threshold", "registered == 24",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    hubs = {each["hub"] for each in emulator.events()}
    assert hubs == {"hub-europe", "hub-us"}


def test_condition_to_stop_ends_a_run_early(quick: RunningEmulator) -> None:
    """It is looked at twice a second; what is reached is reported."""
    answer = fleet(
        quick, "--devices", "4", "--message-rate", "10", "--set", "id_template=stop-{number}",
        "--set", "stop_when=[telemetry >= 20]", "--duration", "30", "--threshold", "telemetry < 200",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_faults_of_devices_are_counted_and_overcome(quick: RunningEmulator) -> None:
    """Power lost before the certificate was stored costs a registration; a clock far ahead trusts no server."""
    answer = fleet(
        quick, "--devices", "4", "--messages", "1", "--set", "id_template=faulty-{number}",
        "--set", "device_faults={power_loss: 1, key_reuse: 1, slow_network: {share: 1, delay_seconds: 0.02}}",
        "--set", "retry.initial_seconds=0.1", "--threshold", "onboarded == 4", "--threshold", "errors == 4",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "PowerLost" in answer.stdout
    answer = fleet(
        quick, "--devices", "2", "--set", "id_template=clock-{number}", "--set", "retry.attempts=1",
        "--set", "device_faults.wrong_clock={share: 1, offset_seconds: 999999999}",
    )  # fmt: skip
    assert answer.returncode == 1
    assert "ServerNotTrusted" in answer.stdout


def test_metrics_are_served_while_it_runs(quick: RunningEmulator) -> None:
    """Port 0 takes a free one, and says which."""
    process = start_endless(quick, "metrics", "--metrics-port", "0", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    url = next(line.removeprefix("metrics: ").strip() for line in process.stdout if line.startswith("metrics: "))
    wait_for_messages(quick, "metrics")
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert 'hublet_fleet_total_seconds_count{total="onboarding"} 5.0' in text


def test_metrics_port_that_is_taken_is_told(quick: RunningEmulator) -> None:
    """The emulator has it."""
    answer = fleet(quick, "--devices", "1", "--metrics-port", str(quick.control_port))
    assert answer.returncode == 2
    assert "address already in use" in answer.stderr.lower()
    assert "Traceback" not in answer.stderr


# --- the end by Ctrl-C ---


def start_endless(emulator: RunningEmulator, name: str, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-m", "emulator", "fleet", "run", "--devices", "5", "--message-rate", "5",
        "--set", f"id_template={name}-{{number}}", "--state-dir", str(emulator.state_dir), *arguments,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, **options)


def wait_for_messages(emulator: RunningEmulator, name: str, count: int = 10) -> None:
    deadline = time.monotonic() + 30
    while sum(name in each["deviceId"] for each in emulator.events()) < count:
        assert time.monotonic() < deadline, "the fleet sent nothing"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_fleet_leaves_in_order_and_still_reports(quick: RunningEmulator, number: signal.Signals) -> None:
    """Every device says DISCONNECT; the summary has what was measured; the exit code is the shell's for Ctrl-C."""
    name = f"endless{number}"
    since = quick.log_end()
    process = start_endless(quick, name, "--json", "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_messages(quick, name)
    process.send_signal(number)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    snapshot = parse_summary(out).snapshot
    assert snapshot.totals["onboarding"].times == 5
    assert snapshot.errors == ()
    assert "lost" not in quick.log.read_bytes()[since:].decode()


def test_terminal_shows_the_fleet_while_it_runs_and_ctrl_c_ends_it(quick: RunningEmulator) -> None:
    """In a terminal of 80 columns no line is wider."""
    main, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    process = start_endless(
        quick, "screen", stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
    )
    os.close(terminal)
    wait_for_messages(quick, "screen")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    shown = _read_all(main)
    assert process.wait(timeout=30) == 130
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "Traceback" not in plain
    assert "onboarding" in plain
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80


def _read_all(descriptor: int) -> str:
    found = b""
    while True:
        try:
            part = os.read(descriptor, 65_536)
        except OSError:
            break
        if not part:
            break
        found += part
    os.close(descriptor)
    return found.decode()
