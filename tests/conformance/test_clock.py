"""The emulator's clock: moved by command and control API, and followed by all that has to do with time."""

import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
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
from tests.conformance.running_emulator import REPOSITORY, RunningEmulator

CONFIG = """
namespaces: {default: {policies: {default: {}}}}
hubs: {hub1: {namespace: default, disconnect_expired_certificates: %s}}
dps:
  dps1:
    namespace: default
    retry_after_seconds: 1
    enrollment_groups:
      dev-ca: {ca: dev-ca, credential_policy: default}
      symmetric-key: {symmetric_key: generate}
"""


def change(emulator: RunningEmulator, body: Any, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    """Ask the control API for another time."""
    url = f"http://127.0.0.1:{emulator.control_port}/clock"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def now(emulator: RunningEmulator) -> datetime:
    return datetime.fromisoformat(json.loads(emulator.get("/clock"))["now"])


def server_accepted(emulator: RunningEmulator, ca: str) -> datetime:
    """Shake hands as a client of the machine's time, and return when the server's certificate ends."""
    context = ssl.create_default_context(cadata=ca)
    with (
        socket.create_connection(("127.0.0.1", emulator.mqtt_port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        certificate: Any = tls.getpeercert()
    return datetime.strptime(certificate["notAfter"], "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)


def test_command_moves_the_clock_and_shows_it(start: Any) -> None:
    emulator: RunningEmulator = start()
    moved = emulator.cli("clock", "advance", "30d")
    assert (moved.returncode, moved.stderr) == (0, "")
    assert ", 30d from the machine's time" in moved.stdout
    assert json.loads(emulator.cli("clock", "show", "--json").stdout)["offset"] == "30d"
    refused = emulator.cli("clock", "advance", "soon")
    assert (refused.returncode, refused.stderr.startswith("hublet: 'soon' is not a duration")) == (1, True)
    assert emulator.cli("clock", "set", "2030-01-01").stdout.startswith("2030-01-01T00:00:0")
    assert "frozen" in emulator.cli("clock", "freeze").stdout
    assert "frozen" not in emulator.cli("clock", "resume").stdout
    assert "the machine's time" in emulator.cli("clock", "reset").stdout


def test_clock_survives_a_kill_and_commands_move_it_while_nothing_runs(start: Any) -> None:
    """Stored before it is answered; the next start says that it is not the machine's time."""
    emulator: RunningEmulator = start()
    assert change(emulator, {"advance": "400d"})[0] == 200
    emulator.kill()
    assert "400d from" in emulator.cli("clock", "show").stdout
    assert "401d from" in emulator.cli("clock", "advance", "1d").stdout
    again: RunningEmulator = start()
    assert timedelta(days=401) - timedelta(seconds=60) < now(again) - datetime.now(UTC) < timedelta(days=402)
    again.wait_for_log("the clock stands at")


@pytest.mark.parametrize(
    "body", [{}, [], {"advance": "1y"}, {"set": "noon"}, {"jump": 1}, {"freeze": False}, "x", None]
)
def test_bad_change_is_an_error_and_changes_nothing(emulator: RunningEmulator, body: Any) -> None:
    status, answer = change(emulator, body)
    assert (status, set(answer)) == (400, {"error"})
    assert abs(now(emulator) - datetime.now(UTC)) < timedelta(seconds=10)


def test_page_of_another_origin_cannot_move_the_clock(emulator: RunningEmulator) -> None:
    """Browsers send text/plain without asking; only JSON is taken, which they ask for first."""
    assert change(emulator, {"advance": "1d"}, "text/plain")[0] == 400


def test_server_is_trusted_by_the_machines_time_wherever_the_clock_stands(start: Any) -> None:
    """By clients that read the CA file at the beginning, also after the server's certificates were renewed."""
    emulator: RunningEmulator = start()
    ca = emulator.ca_file.read_text()
    first = server_accepted(emulator, ca)
    for target in ("2031-01-01", "2055-01-01", "2010-01-01"):
        assert change(emulator, {"set": target})[0] == 200
        assert server_accepted(emulator, ca) > datetime.now(UTC)
    change(emulator, {"set": "2055-01-01"})
    assert server_accepted(emulator, emulator.ca_file.read_text()) > datetime(2055, 1, 1, tzinfo=UTC) > first


def test_certificates_are_issued_again_when_the_clock_comes_back(start: Any, tmp_path: Path) -> None:
    """The issuing CAs of the future cannot issue for the present, so the present gets its own."""
    emulator: RunningEmulator = start()
    for change_of_clock in ({"set": "2035-01-01"}, {"reset": True}):
        assert change(emulator, change_of_clock)[0] == 200
    context, key = tls_context(emulator.ca_file), p256()
    secret = derived_key(emulator.group_key(), "traveller")
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "traveller", secret).connected() as dps:
        state = dps.onboard({"csr": csr_text("traveller", key)}).state
    assert state["status"] == "assigned", state
    chain = certificates_of(state["issuedCertificateChain"])
    context = tls_context(emulator.ca_file, Pair.write(tmp_path, "traveller", pem_of(*chain), key_pem(key)))
    HubClient.make(emulator.mqtt_port, context, "localhost", "traveller").connected().close()


def test_connection_ends_with_its_sas_token_at_once_after_a_jump(start: Any) -> None:
    emulator: RunningEmulator = start(config=CONFIG % "false")
    context = tls_context(emulator.ca_file)
    key = derived_key(emulator.group_key(), "keyed")
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "keyed", key).connected() as dps:
        assert dps.onboard({"registrationId": "keyed"}).state["status"] == "assigned"
    with HubClient.make(emulator.mqtt_port, context, "localhost", "keyed", key).connected() as hub:
        change(emulator, {"advance": "59m"})
        hub.send_telemetry({"still": "here"})
        change(emulator, {"advance": "2m"})
        assert hub.wait_closed()
    events = json.loads(emulator.get("/audit", {"device": "keyed", "kind": "expired"}))["events"]
    assert [event["service"] for event in events] == ["hub1"]


@pytest.mark.parametrize("is_ended", [True, False])
def test_connection_ends_with_its_certificate_where_the_hub_is_set_to(
    start: Any, tmp_path: Path, is_ended: bool
) -> None:
    emulator: RunningEmulator = start(config=CONFIG % str(is_ended).lower())
    pair = emulator.onboarding_pair("certified", tmp_path)
    answer = emulator.cli(
        "device", "onboard", "--registration-id", "certified", "--directory", str(tmp_path / "d"),
        "--certificate", str(pair.chain_file), "--key", str(pair.key_file), "--messages", "0",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    operational = Pair(tmp_path / "d" / "device.pem", tmp_path / "d" / "device.key")
    context = tls_context(emulator.ca_file, operational)
    with HubClient.make(emulator.mqtt_port, context, "localhost", "certified").connected() as hub:
        change(emulator, {"advance": "31d"})
        if is_ended:
            assert hub.wait_closed()
        else:
            time.sleep(1.5)  # longer than it takes the broker to look at every connection
            hub.send_telemetry({"still": "here"})
    again = HubClient.make(emulator.mqtt_port, context, "localhost", "certified")
    assert again.connect() == 5, "whatever the setting, nobody connects with an expired certificate"


def test_live_device_follows_the_clock_and_renews(start: Any, tmp_path: Path) -> None:
    """Of 30 days 25 later it renews; a year later its certificate is gone, and it is back at DPS."""
    emulator: RunningEmulator = start(config=CONFIG % "true")
    command = [sys.executable, "-m", "emulator", "device", "onboard", "--live", "--interval", "0.2", "-v"]
    command += ["--registration-id", "live", "--directory", str(tmp_path / "live")]
    log = tmp_path / "device.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--state-dir", str(emulator.state_dir)], stdout=output, stderr=output, cwd=REPOSITORY
        )
    try:
        emulator.wait_for_log("device live: connected to hub")
        since = emulator.log_end()
        change(emulator, {"advance": "25d"})
        emulator.wait_for_log("device live", "renewed by request", since=since)
        since = emulator.log_end()
        change(emulator, {"advance": "300d"})
        emulator.wait_for_log("device live: assigned to", since=since)
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_onboarding_certificate_of_the_command_line_is_valid_at_the_emulators_time(start: Any, tmp_path: Path) -> None:
    emulator: RunningEmulator = start()
    change(emulator, {"advance": "2000d"})
    pair = emulator.issue_onboarding("late", tmp_path)
    assert pair.leaf.not_valid_before_utc > datetime.now(UTC) + timedelta(days=1999)
    context = tls_context(emulator.ca_file, pair)
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "late").connected() as dps:
        answer = dps.onboard({"registrationId": "late", "csr": csr_text("late", p256())})
    assert answer.state["status"] == "assigned"
