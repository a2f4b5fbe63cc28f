"""`hublet device onboard`: a device that lives in a directory, from its first day to its expired certificate."""

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509

from certs.authority import CertificateAuthority
from certs.identifier import device_identifier
from certs.keyfile import FileKeyStore
from tests.conformance.plain_device import pem_of
from tests.conformance.running_emulator import REPOSITORY, RunningEmulator, start_emulator
from tests.conformance.test_state_directory import assert_refused

# Certificates that live for a minute.
SHORT_LIVED = """
namespaces: {default: {policies: {default: {validity_days: 0.0007}}}}
hubs: {hub1: {namespace: default}}
dps:
  dps1:
    namespace: default
    retry_after_seconds: 1
    enrollment_groups:
      dev-ca: {ca: dev-ca, credential_policy: default}
      no-policy: {symmetric_key: generate}
allow_short_validity: true
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    running = start_emulator(tmp_path_factory.mktemp("short-lived"), config=SHORT_LIVED)
    yield running
    running.stop()


def run_device(emulator: RunningEmulator, name: str, home: Path, *options: str) -> str:
    answer = emulator.cli("device", "onboard", "--registration-id", name, "--directory", str(home), *options)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def leaf_in(home: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates((home / "device.pem").read_bytes())[0]


def registrations(emulator: RunningEmulator, name: str) -> int:
    """How often DPS has assigned the device."""
    return emulator.log.read_text().count(f"device {name}: assigned to")


def put_certificate(
    emulator: RunningEmulator, home: Path, *, validity: timedelta, identifier: UUID | None = None
) -> x509.Certificate:
    """Put another certificate of the issuing CA for the device's own key into its memory."""
    key = FileKeyStore(emulator.state_dir / "keys").load("default.default.1")
    assert key is not None
    ca = CertificateAuthority(x509.load_der_x509_certificate(emulator.get("/ca/default/default.cer")), key)
    present = leaf_in(home)
    own = device_identifier(present)
    assert own is not None
    leaf = ca.issue_operational(
        home.name, present.public_key(), identifier or own, datetime.now(UTC),
        validity=validity, crl_url="http://crl.example/", issuer_url="http://ca.example/",
    )  # fmt: skip
    (home / "device.pem").write_bytes(pem_of(leaf, ca.certificate))
    return leaf


def test_device_onboards_renews_and_comes_back_from_its_directory(emulator: RunningEmulator, tmp_path: Path) -> None:
    """Onboarding fills the directory; from then on the device goes straight to its hub with what is there."""
    home = tmp_path / "steady"
    shown = run_device(emulator, "steady", home, "--messages", "2", "--renew", "--key-type", "P-384")
    assert "connected to localhost as steady" in shown
    assert "renewed, and connected again with the new certificate" in shown
    assert shown.count("certificate ") >= 2
    assert {path.name for path in home.iterdir()} == {"device.key", "device.pem", "assignment.json"}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "device.key").stat().st_mode) == 0o600
    renewed = leaf_in(home)
    assert f"{renewed.serial_number:x}" in shown
    assert registrations(emulator, "steady") == 1

    shown = run_device(emulator, "steady", home)
    assert f"certificate {renewed.serial_number:x}" in shown
    assert registrations(emulator, "steady") == 1
    assert [event["body"]["number"] for event in emulator.events("steady")] == [0, 1, 0]


def test_device_with_an_expired_certificate_goes_back_to_dps(emulator: RunningEmulator, tmp_path: Path) -> None:
    """It sees so itself, does not bother the hub, and has a certificate that counts again."""
    home = tmp_path / "expired"
    run_device(emulator, "expired", home)
    expired = put_certificate(emulator, home, validity=-timedelta(seconds=1))
    since = emulator.log_end()
    run_device(emulator, "expired", home)
    assert leaf_in(home).serial_number != expired.serial_number
    assert leaf_in(home).not_valid_after_utc > datetime.now(UTC)
    assert registrations(emulator, "expired") == 2
    assert "refused" not in emulator.log.read_bytes()[since:].decode()


def test_device_that_its_hub_refuses_goes_back_to_dps(emulator: RunningEmulator, tmp_path: Path) -> None:
    """A certificate that looks good to the device, but was revoked, is replaced by way of DPS."""
    home = tmp_path / "revoked"
    run_device(emulator, "revoked", home)
    revoked = put_certificate(emulator, home, validity=timedelta(days=1), identifier=uuid4())
    since = emulator.log_end()
    run_device(emulator, "revoked", home)
    emulator.wait_for_log("device revoked: refused by hub hub1", "was revoked", since=since)
    assert leaf_in(home).serial_number != revoked.serial_number
    assert registrations(emulator, "revoked") == 2


def test_living_device_renews_by_itself_until_ctrl_c(emulator: RunningEmulator, tmp_path: Path) -> None:
    """With a minute to live, and five behind it, the certificate is always due: every message leads to the next one."""
    home = tmp_path / "lively"
    run_device(emulator, "lively", home)
    first = leaf_in(home)
    command = [sys.executable, "-m", "emulator", "device", "onboard", "--registration-id", "lively", "--live"]
    command += ["--interval", "0.05", "--directory", str(home), "--state-dir", str(emulator.state_dir)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        deadline = time.monotonic() + 15
        while len(emulator.events("lively")) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=15)
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints
    assert len(emulator.events("lively")) >= 5
    assert leaf_in(home).serial_number != first.serial_number
    assert registrations(emulator, "lively") == 1


def test_device_uses_the_certificate_it_is_given(emulator: RunningEmulator, tmp_path: Path) -> None:
    """--certificate and --key, as `dev-ca issue` wrote them; the registration ID is their common name."""
    pair = emulator.issue_onboarding("given", tmp_path)
    answer = emulator.cli(
        "device", "onboard", "--certificate", str(pair.chain_file), "--key", str(pair.key_file),
        "--directory", str(tmp_path / "given"),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert len(emulator.events("given")) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--registration-id", ""], ["registration ID ''", "1 to 128"]),
        (["--registration-id", "../up"], ["registration ID '../up'", "letters, digits"]),
        (["--registration-id", "x" * 65], ["65 characters", "at most 64"]),
        (["--registration-id", "x", "--symmetric-key", "no base64!"], ["--symmetric-key", "not base64"]),
        (["--registration-id", "x", "--group-key", "\u00e4"], ["--group-key", "not base64"]),
        (["--registration-id", "x", "--clock", "nowhere"], ["nowhere", "http://"]),
        (["--registration-id", "x", "--ca-file", "PROSE"], ["--ca-file", "PROSE", "not certificates in PEM"]),
        (["--certificate", "PROSE", "--key", "KEY"], ["PROSE", "not certificates in PEM"]),
        (["--certificate", "CHAIN", "--key", "PROSE"], ["PROSE", "not an unencrypted private key"]),
        (["--certificate", "CHAIN", "--key", "OTHERS_KEY"], ["CN=ours", "another private key"]),
        (["--certificate", "CHAIN", "--key", "KEY", "--registration-id", "x"], ["'x' is not the common", "'ours'"]),
    ],
    ids=[
        "no ID", "ID that leads out of the directory", "ID too long for a certificate", "key not base64",
        "group key not base64", "clock without a scheme", "CA file is prose", "certificate is prose", "key is prose",
        "key of another certificate", "ID of another certificate",
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_its_rule(
    emulator: RunningEmulator, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    """One line says what and why, and nothing is written."""
    ours, others = emulator.issue_onboarding("ours", tmp_path), emulator.issue_onboarding("others", tmp_path)
    prose = tmp_path / "PROSE"
    prose.write_text("no PEM at all")
    files = {"PROSE": prose, "CHAIN": ours.chain_file, "KEY": ours.key_file, "OTHERS_KEY": others.key_file}
    home = tmp_path / "home"
    command = ["device", "onboard", *(str(files.get(each, each)) for each in options), "--directory", str(home)]
    assert_refused(emulator.cli(*command), *words)
    assert not home.exists()


def test_device_says_that_its_enrollment_has_no_policy(emulator: RunningEmulator, tmp_path: Path) -> None:
    """A CSR without a policy is assigned without a certificate: the device complains, unless it asks for none."""
    common = ["--registration-id", "plain", "--group-key", emulator.group_key(), "--directory", str(tmp_path / "plain")]
    assert_refused(emulator.cli("device", "onboard", *common), "plain", "without a certificate")
    answer = emulator.cli("device", "onboard", *common, "--no-csr")
    assert answer.returncode == 0, answer.stderr
    assert len(emulator.events("plain")) == 1
