"""The audit trail of a running emulator, and the CA certificates that people upload to it."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from tests.conformance.plain_device import DpsClient, HubClient, Pair, key_pem, p256, pem_of, tls_context
from tests.conformance.running_emulator import REPOSITORY, RunningEmulator


def audit(emulator: RunningEmulator, *options: str) -> list[dict[str, Any]]:
    """What `hublet audit --json` prints."""
    answer = emulator.cli("audit", "--json", *options)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def onboard(emulator: RunningEmulator, device_id: str, directory: Path) -> Pair:
    """Onboard a device by the command line, and renew its certificate once."""
    home = directory / device_id
    answer = emulator.cli("device", "onboard", "--registration-id", device_id, "--directory", str(home), "--renew")
    assert answer.returncode == 0, answer.stderr
    return Pair(home / "device.pem", home / "device.key")


def test_life_of_a_certificate_is_told(emulator: RunningEmulator, tmp_path: Path) -> None:
    """Issued, renewed, refused: with device, serial number, reason, and the service it happened at."""
    pair = onboard(emulator, "told", tmp_path)
    context = tls_context(emulator.ca_file, pair)
    assert HubClient.make(emulator.mqtt_port, context, "localhost", "somebody-else").connect() == 5
    issued, renewed = audit(emulator, "--device", "told")
    assert (issued["kind"], issued["service"]) == ("issued", "dps1")
    assert (renewed["kind"], renewed["service"]) == ("renewed", "hub1")
    assert renewed["serialNumber"] == f"{pair.leaf.serial_number:x}"
    (refused,) = audit(emulator, "--device", "somebody-else")
    assert (refused["kind"], refused["service"]) == ("refused", "hub1")
    assert refused["serialNumber"] == f"{pair.leaf.serial_number:x}"
    assert "is not registered in hub hub1" in refused["reason"]
    assert refused["source"].startswith("127.0.0.1:")


def test_stranger_at_dps_is_told(emulator: RunningEmulator, tmp_path: Path) -> None:
    ca_key, key = p256(), p256()
    ca, leaf = authority("Stranger", ca_key), signed("stranger", key, "Stranger", ca_key)
    pair = Pair.write(tmp_path, "stranger", pem_of(leaf, ca), key_pem(key))
    context = tls_context(emulator.ca_file, pair)
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "stranger").connected() as dps:
        assert dps.register({"registrationId": "stranger"}).status == 401
    with DpsClient.make(emulator.mqtt_port, context, "0ne00000BAD", "lost") as dps:
        assert dps.connect() == 5
    (refused,) = audit(emulator, "--kind", "refused", "--device", "stranger")
    assert refused["reason"].startswith("401002: no enrollment group trusts")
    (lost,) = audit(emulator, "--device", "lost")
    assert "no DPS instance has the ID scope" in lost["reason"]
    assert "service" not in lost


def test_trail_is_shown_for_people_and_after_the_end(start: Any, tmp_path: Path) -> None:
    emulator: RunningEmulator = start()
    onboard(emulator, "one", tmp_path)
    assert emulator.stop() == 0
    shown = emulator.cli("audit", "--device", "one")
    assert [line.split()[2] for line in shown.stdout.splitlines()] == ["issued", "renewed"]
    assert len(audit(emulator, "--kind", "issued", "--kind", "renewed")) == 2
    assert emulator.cli("audit", "--kind", "nonsense").returncode == 2


def test_follower_sees_events_as_they_come(emulator: RunningEmulator) -> None:
    command = [sys.executable, "-m", "emulator", "audit", "--follow", "--json", "--device", "followed"]
    command += ["--state-dir", str(emulator.state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as follower:
        assert follower.stdout is not None
        time.sleep(1)
        context = tls_context(emulator.ca_file)
        assert HubClient.make(emulator.mqtt_port, context, "localhost", "followed").connect() == 5
        assert json.loads(follower.stdout.readline())["deviceId"] == "followed"
        follower.terminate()


@pytest.mark.parametrize("query", [{"from": "x"}, {"from": "[]"}, {"from": '{"a": -1}'}, {"kind": "nonsense"}])
def test_bad_query_is_an_error(emulator: RunningEmulator, query: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        emulator.get("/audit", query)
    with refused.value as answer:
        assert (answer.code, set(json.load(answer))) == (400, {"error"})


# --- uploaded CAs ---


def authority(name: str, key: Any) -> x509.Certificate:
    """Make a CA as its owner does, with nothing of ours."""
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=9))
    return builder.add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())


def signed(common_name: str, key: Any, issuer: str, issuer_key: Any) -> x509.Certificate:
    """Sign a certificate without extensions, as `openssl x509 -req` does."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (issuer, common_name)]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(*names, key.public_key(), 2, now, now + timedelta(days=8))
    return builder.sign(issuer_key, hashes.SHA256())


def test_ca_of_a_hub_is_uploaded_proven_and_used(start: Any, tmp_path: Path) -> None:
    """From the command line: add, sign the code, verify; then a device of that CA connects, and not before."""
    emulator: RunningEmulator = start()
    ca_key, key = p256(), p256()
    ca_file, proof_file = tmp_path / "ca.pem", tmp_path / "proof.pem"
    ca_file.write_bytes(pem_of(authority("My Factory", ca_key)))
    added = json.loads(emulator.cli("ca", "add", "hub1", "mine", str(ca_file), "--json").stdout)
    assert added["isVerified"] is False
    proof_file.write_bytes(pem_of(signed("guess", p256(), "My Factory", ca_key)))
    refused = emulator.cli("ca", "verify", "hub1", "mine", str(proof_file))
    assert refused.returncode == 1
    assert "common name is not the verification code" in refused.stderr
    proof_file.write_bytes(pem_of(signed(added["verificationCode"], p256(), "My Factory", ca_key)))
    verified = emulator.cli("ca", "verify", "hub1", "mine", str(proof_file))
    assert (verified.returncode, verified.stdout) == (0, "hub1/mine: CN=My Factory, verified\n")
    create_device(emulator, "factory-made")
    pair = Pair.write(tmp_path, "d", pem_of(signed("factory-made", key, "My Factory", ca_key)), key_pem(key))
    context = tls_context(emulator.ca_file, pair)
    HubClient.make(emulator.mqtt_port, context, "localhost", "factory-made").connected().close()
    assert emulator.cli("ca", "remove", "hub1", "mine").returncode == 0
    assert HubClient.make(emulator.mqtt_port, context, "localhost", "factory-made").connect() == 5


def create_device(emulator: RunningEmulator, device_id: str) -> None:
    """Register a device at the hub by the control API."""
    url = f"http://127.0.0.1:{emulator.control_port}/hubs/hub1/devices/{device_id}?api-version=2021-04-12"
    body = {"deviceId": device_id, "authentication": {"type": "certificateAuthority"}}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_ca_of_a_dps_is_uploaded_while_nothing_runs(start: Any, tmp_path: Path) -> None:
    emulator: RunningEmulator = start()
    assert emulator.stop() == 0
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(pem_of(authority("My Factory", p256())))
    added = emulator.cli("ca", "add", "dps1", "mine", str(ca_file))
    assert "sign a certificate with CN=" in added.stdout
    assert emulator.cli("ca", "list").stdout == "dps1/mine: CN=My Factory, not verified\n"
    assert emulator.cli("ca", "add", "dps2", "mine", str(ca_file)).stderr.startswith(
        "hublet: there is no hub and no DPS"
    )
