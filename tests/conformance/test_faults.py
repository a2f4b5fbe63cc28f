"""Faults, quotas and what a fleet makes of them, against a real emulator process."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.plain_device import (
    DpsClient,
    HubClient,
    Pair,
    certificates_of,
    csr_text,
    derived_key,
    key_pem,
    p256,
    pem_of,
    tls_context,
)
from tests.conformance.running_emulator import RunningEmulator, run_cli

CONFIG = """
namespaces: {factory: {policies: {default: {validity_days: 30}}}}
hubs: {hub1: {namespace: factory}}
dps:
  dps1:
    namespace: factory
    retry_after_seconds: 1
    enrollment_groups: {by-ca: {ca: dev-ca, credential_policy: default}}
"""
# Time-outs are short, so that a device that hears nothing tries again soon.
STORMY = """
name: stormy
devices: %d
arrival: {kind: rate, per_second: 50}
connection: {timeout_seconds: 2, operation_timeout_seconds: 12, keep_alive_seconds: 4}
retry: {attempts: %s, initial_seconds: 0.5, max_seconds: 3}
behaviour: {telemetry: {messages: 2, messages_per_second: 1}, renewal: %s}
device_faults: {power_loss: 0.1}
duration_seconds: %d
thresholds: [onboarded == %d]
"""
DEVICES = 200


def fleet(emulator: RunningEmulator, scenario: Path) -> subprocess.CompletedProcess[str]:
    arguments = ("fleet", "run", str(scenario), "--state-dir", str(emulator.state_dir), "--json", "-")
    return run_cli(*arguments, timeout=240)


def write_scenario(directory: Path, devices: int, attempts: int | None, seconds: int, renewal: str = "null") -> Path:
    path = directory / "stormy.yaml"
    path.write_text(STORMY % (devices, "null" if attempts is None else attempts, renewal, seconds, devices))
    return path


def faults_of(emulator: RunningEmulator) -> dict[str, Any]:
    answer = emulator.cli("fault", "list", "--json")
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def ask(
    emulator: RunningEmulator, method: str, path: str, body: bytes, content_type: str
) -> tuple[int, dict[str, Any]]:
    """Send a body as it is to the control API."""
    url = f"http://127.0.0.1:{emulator.control_port}{path}"
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.load
def test_fleet_survives_a_storm(start: Any, tmp_path: Path) -> None:
    """All 200 devices are at the hub in the end and have renewed, and none came before it was told to."""
    emulator = start(config=CONFIG + "faults: {profile: storm, seed: 7}\n")
    answer = fleet(emulator, write_scenario(tmp_path, DEVICES, None, 180, "{after_seconds: 4}"))
    assert answer.returncode == 0, answer.stderr[-3000:]
    left = {state: count for state, count in json.loads(answer.stdout)["devices"].items() if count}
    assert left == {"finished": DEVICES}, "a device finishes once it is connected, has sent all and has renewed"
    senders = {event["deviceId"] for event in emulator.events()}
    assert len(senders) == DEVICES, answer.stderr[-3000:]
    assert "PowerLost" in answer.stdout, "power was lost between received and stored"
    found = faults_of(emulator)
    struck = {each["kind"] for each in found["faults"] if each["struck"]}
    assert len(struck) >= 15, struck
    retries = found["retries"]
    assert retries["told"] > 20
    assert retries["tooEarly"] == 0
    assert retries["lateSeconds"]["p90"] - retries["lateSeconds"]["p10"] > 0.2, "devices told the same come apart"
    listed = emulator.cli("audit", "--kind", "fault", "--json")
    assert "dropped-acknowledgement at" in listed.stdout


@pytest.mark.load
def test_fleet_that_never_tries_again_does_not_survive_a_storm(start: Any, tmp_path: Path) -> None:
    """The same run without retries fails, so the storm is one."""
    emulator = start(config=CONFIG + "faults: {profile: storm, seed: 7}\n")
    answer = fleet(emulator, write_scenario(tmp_path, DEVICES, 1, 60))
    assert answer.returncode == 1
    senders = {event["deviceId"] for event in emulator.events()}
    assert len(senders) < DEVICES / 2


def test_calm_comes_back_when_the_faults_are_cleared(start: Any, tmp_path: Path) -> None:
    """What was added one by one strikes in its order; after clearing nothing does."""
    emulator = start(config=CONFIG)
    added = emulator.cli("fault", "add", "throttled", "--operation", "register", "--nth", "1", "--retry-after", "1")
    assert json.loads(added.stdout)["name"] == "fault-1", added.stderr
    alert = emulator.cli("fault", "add", "tls-alert", "--limit", "1", "--name", "alert")
    assert alert.returncode == 0, alert.stderr
    first = fleet(emulator, write_scenario(tmp_path, 3, None, 60))
    assert "throttled 429000" in first.stdout
    assert "ServerUnreachable" in first.stdout
    assert {each["name"]: each["struck"] for each in faults_of(emulator)["faults"]} == {"fault-1": 3, "alert": 1}
    assert emulator.cli("fault", "clear", "alert").returncode == 0
    gone = emulator.cli("fault", "clear", "alert")
    assert gone.returncode == 1
    assert "there is no fault 'alert'" in gone.stderr
    assert emulator.cli("fault", "clear").returncode == 0
    assert faults_of(emulator)["faults"] == []
    assert emulator.cli("fault", "profile", "mild", "--seed", "3").stdout.startswith("profile mild, seed 3")


def test_quota_report_lists_who_would_have_been_throttled(start: Any, tmp_path: Path) -> None:
    """The dry run changes nothing for the devices."""
    emulator = start(config=CONFIG + "quota: report\n")
    scenario = tmp_path / "busy.yaml"
    scenario.write_text(
        "name: busy\ndevices: 4\nbehaviour: {telemetry: {messages: 150, messages_per_second: 100}}\n"
        "thresholds: [errors == 0]\n"
    )
    answer = fleet(emulator, scenario)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads(emulator.cli("quota", "report", "--json").stdout)
    sends = next(each for each in found["limits"] if each["limit"] == "device-to-cloud sends")
    assert (sends["requests"], sends["over"] > 0) == (600, True)
    assert "device-to-cloud sends (100 /s): 600," in emulator.cli("quota", "report").stdout
    enforced = emulator.cli("quota", "mode", "enforce", "--tier", "S3", "--units", "2")
    assert "quota enforce, hubs of tier S3 with 2 units" in enforced.stdout


@pytest.mark.parametrize(
    ("path", "body", "content_type", "message"),
    [
        ("/faults", b"{", "application/json", "the body is not JSON"),
        ("/faults", b"\xff", "application/json", "the body is not JSON"),
        ("/faults", b"{}", "text/plain", "the body must be application/json, not text/plain"),
        ("/faults", b"[" * 100_000, "application/json", "the body is not JSON"),
        ("/faults", b"[]", "application/json", "a fault is an object with at least a kind"),
        ("/faults", b'{"kind": 3}', "application/json", "kind must be one of throttled"),
        ("/faults", b'{"kind": "cut", "name": "a b"}', "application/json", "name must have 1 to 64 letters"),
        ("/faults", b'{"profile": "hurricane"}', "application/json", "profile must be one of off, mild, storm"),
        ("/faults", b'{"profile": "mild", "kind": "cut"}', "application/json", "an object with profile, seed"),
        ("/faults", b'{"profile": "mild", "seed": -1}', "application/json", "seed must be a whole number from 0"),
        ("/faults", b'{"messageProperties": 1}', "application/json", "messageProperties must be true or false"),
        ("/quota", b'{"mode": "often"}', "application/json", "mode must be one of off, report, enforce"),
        ("/quota", b'{"units": 0}', "application/json", "units must be a whole number from 1 to 200"),
        ("/quota", b"7", "application/json", "the body must be an object with mode, tier, units"),
    ],
)
def test_bad_request_is_told_and_sets_nothing(
    emulator: RunningEmulator, path: str, body: bytes, content_type: str, message: str
) -> None:
    status, answer = ask(emulator, "POST", path, body, content_type)
    assert status == 400
    assert message in answer["error"]
    assert faults_of(emulator)["faults"] == []


def test_fresh_emulator_has_no_faults_but_those_that_messages_ask_for(emulator: RunningEmulator) -> None:
    """`hublet fault list` says so."""
    assert emulator.cli("fault", "list").stdout == "profile off, seed 0, message properties on\n"


def test_faults_need_a_running_emulator(tmp_path: Path) -> None:
    answer = run_cli("fault", "list", "--state-dir", str(tmp_path))
    assert answer.returncode == 1
    assert "no emulator runs on" in answer.stderr


def test_message_property_cuts_the_connection(start: Any, tmp_path: Path) -> None:
    """Microsoft's KillTcp, obeyed without anything being set up for it."""
    emulator = start(config=CONFIG)
    import asyncio

    from device_sim.certificate_store import MemoryStore
    from device_sim.device import Device
    from device_sim.dialer import Dialer, read_trust_anchors
    from device_sim.errors import ConnectionLost
    from device_sim.settings import DeviceSettings
    from tests.conformance.test_device_sim import credential_of

    port = emulator.mqtt_port
    settings = DeviceSettings(emulator.id_scope(), "localhost", port, port, ca_file=emulator.ca_file)

    async def kill() -> float:
        dialer = Dialer(read_trust_anchors(emulator.ca_file))
        device = Device(settings, credential_of(emulator, "victim"), MemoryStore(), dialer)
        session = await device.connect()
        topic = "devices/victim/messages/events/AzIoTHub_FaultOperationType=KillTcp"
        started = time.monotonic()
        with pytest.raises(ConnectionLost):
            await session.mqtt.publish(topic, b"{}")
        return time.monotonic() - started

    assert asyncio.run(kill()) < 5


def keyed_device(emulator: RunningEmulator, name: str) -> tuple[str, HubClient]:
    """Onboard a device by the group key; give its leaf's subject, and a client with its certificate."""
    key, context = p256(), tls_context(emulator.ca_file)
    secret = derived_key(emulator.group_key(), name)
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), name, secret).connected() as dps:
        state = dps.onboard({"csr": csr_text(name, key)}).state
    chain = certificates_of(state["issuedCertificateChain"])
    pair = Pair.write(emulator.state_dir.parent / name, name, pem_of(*chain), key_pem(key))
    context = tls_context(emulator.ca_file, pair)
    return chain[0].subject.rfc4514_string(), HubClient.make(emulator.mqtt_port, context, "localhost", name)


SCOPES = (
    ({"service": "dps1"}, True, False),
    ({"service": "hub1"}, False, True),
    ({"enrollment": "symmetric-key"}, True, False),
    ({"device": "other-*"}, False, False),
)


def test_wrong_certificates_are_issued_where_the_scope_says(start: Any) -> None:
    """By DPS, by a hub, or for the devices of one enrollment only."""
    emulator = start()
    for scope, at_registration, at_renewal in SCOPES:
        body = json.dumps({"kind": "wrong-cn", **scope}).encode()
        assert ask(emulator, "POST", "/faults", body, "application/json")[0] == 200
        subject, _ = keyed_device(emulator, "scoped")
        assert (subject != "CN=scoped") is at_registration, scope
        assert ask(emulator, "DELETE", "/faults", b"", "application/json")[0] == 204
        _, hub = keyed_device(emulator, "scoped")
        assert ask(emulator, "POST", "/faults", body, "application/json")[0] == 200
        with hub.connected():
            hub.subscribe("$iothub/credentials/res/#")
            assert (hub.renew(p256())[0].subject.rfc4514_string() != "CN=scoped") is at_renewal, scope
        assert ask(emulator, "DELETE", "/faults", b"", "application/json")[0] == 204


def test_message_properties_do_what_they_say(start: Any) -> None:
    """Over one device's connections: shut down after a delay, throttled for a while, refused for a while."""
    emulator = start(config="faults: {message_properties: true}\n")
    _, hub = keyed_device(emulator, "victim")

    def order(operation: str, delay: int, duration: int) -> None:
        prefix = "AzIoTHub_FaultOperation"
        bag = f"{prefix}Type={operation}&{prefix}CloseReason=test&{prefix}DelayInSecs={delay}"
        hub.publish_and_forget(f"devices/victim/messages/events/{bag}&{prefix}DurationInSecs={duration}", b"{}")

    def seconds_until(condition: Any) -> float:
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < 10
            time.sleep(0.02)
        return time.monotonic() - started

    hub.connected()
    order("ShutDownMqtt", 1, 0)
    assert 0.9 < seconds_until(lambda: not hub.is_connected) < 3
    _, hub = keyed_device(emulator, "victim")
    hub.connected()
    order("InvokeThrottling", 0, 2)
    sent = hub.publish_and_forget("devices/victim/messages/events/", b"{}")
    assert 1 < seconds_until(sent.is_published) < 4
    order("InvokeAuthError", 0, 60)
    assert seconds_until(lambda: not hub.is_connected) < 3
    _, hub = keyed_device(emulator, "victim")
    assert hub.connect() == 5
    told = [
        json.loads(line)["reason"] for line in emulator.cli("audit", "--kind", "fault", "--json").stdout.splitlines()
    ]
    assert [reason.split()[0] for reason in told] == ["ShutDownMqtt", "InvokeThrottling", "InvokeAuthError"]
