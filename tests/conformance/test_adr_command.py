"""`hublet adr` as a user calls it, against a running emulator."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emulator.cli import app
from tests.conformance.management import Management
from tests.conformance.own_root import make_root, sign
from tests.conformance.running_emulator import RunningEmulator, run_cli, start_emulator


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    running = start_emulator(tmp_path_factory.mktemp("adr"))
    yield running
    running.stop()


def adr(emulator: RunningEmulator, *arguments: str) -> str:
    """Call a command in this process: one of its own for each would take most of the time."""
    answer = CliRunner().invoke(app, ["adr", *arguments, "--state-dir", str(emulator.state_dir)])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def refused(emulator: RunningEmulator, *arguments: str) -> str:
    """Call a command that fails with a message, and return that."""
    answer = CliRunner().invoke(app, ["adr", *arguments, "--state-dir", str(emulator.state_dir)])
    assert answer.exit_code == 1
    assert "Traceback" not in answer.stderr
    return answer.stderr


def test_namespace_policies_and_credential_from_beginning_to_end(emulator: RunningEmulator) -> None:
    """Made, listed, changed, revoked, and deleted in the only order that is allowed."""
    assert "with its root CA" in adr(emulator, "namespace", "create", "lab")
    assert "lab" in adr(emulator, "namespace", "list")
    assert json.loads(adr(emulator, "namespace", "show", "lab"))["name"] == "lab"
    in_lab = ("--namespace", "lab")
    assert "issuing CA is valid until" in adr(emulator, "policy", "create", "fast", *in_lab, "--validity-days", "7")
    adr(emulator, "policy", "update", "fast", *in_lab, "--validity-days", "14")
    shown = json.loads(adr(emulator, "policy", "show", "fast", *in_lab))
    leaf = shown["properties"]["certificate"]["leafCertificateConfiguration"]
    assert leaf == {"validityPeriodInDays": 14}
    assert "fast    14" in adr(emulator, "policy", "list", *in_lab)
    (listed,) = adr(emulator, "policy", "list", *in_lab, "--json").splitlines()
    assert json.loads(listed)["name"] == "fast"
    adr(emulator, "policy", "revoke-issuer", "fast", *in_lab)
    adr(emulator, "credential", "sync", *in_lab)
    assert "before its policies" in refused(emulator, "credential", "delete", *in_lab)
    assert "7 to 90 whole days" in refused(emulator, "policy", "create", "slow", *in_lab, "--validity-days", "91")
    adr(emulator, "policy", "delete", "fast", *in_lab)
    adr(emulator, "credential", "delete", *in_lab)
    assert "has no credential" in refused(emulator, "credential", "show", *in_lab)
    adr(emulator, "credential", "create", *in_lab)
    assert json.loads(adr(emulator, "credential", "show", *in_lab))["name"] == "default"
    adr(emulator, "credential", "delete", *in_lab)
    adr(emulator, "namespace", "delete", "lab")
    assert "no namespace 'lab'" in refused(emulator, "namespace", "show", "lab")


def test_hub_is_unlinked_and_linked_again(emulator: RunningEmulator) -> None:
    """A hub has one namespace: it leaves the first before it joins another."""
    adr(emulator, "namespace", "create", "second", "--no-credential")
    assert "unlink it there first" in adr(emulator, "namespace", "link", "second", "--hub", "hub1")
    adr(emulator, "namespace", "link", "default", "--hub", "hub1", "--unlink")
    assert "default    none" in adr(emulator, "namespace", "list")
    assert "hub1: linked" in adr(emulator, "namespace", "link", "default", "--hub", "hub1", "--dps", "dps1")
    adr(emulator, "namespace", "delete", "second")


def test_own_root_by_files(emulator: RunningEmulator, tmp_path: Path) -> None:
    """The CSR goes to standard output, the signed chain comes from a file."""
    make_root(tmp_path)
    request = adr(emulator, "policy", "create", "own", "--enable-byor")
    assert request.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert "PendingActivation" in adr(emulator, "policy", "list")
    chain = tmp_path / "chain.pem"
    chain.write_text(sign(tmp_path, request, days=30))
    activate = ("policy", "activate-byor", "own", "--certificate-chain-file", str(chain))
    assert "at least 365 must be left" in refused(emulator, *activate)
    chain.write_text(sign(tmp_path, request))
    assert "issues under your root" in adr(emulator, *activate)
    assert "own, Active" in adr(emulator, "policy", "list")


def test_device_is_shown_with_its_certificates_disabled_and_revoked(emulator: RunningEmulator, tmp_path: Path) -> None:
    """What was issued, and what became of it."""
    onboarded = emulator.cli("device", "onboard", "--registration-id", "pump", "--directory", str(tmp_path / "pump"))
    assert onboarded.returncode == 0, onboarded.stderr
    assert "pump    default  enabled" in adr(emulator, "device", "list")
    shown = adr(emulator, "device", "show", "pump")
    assert "pump: enabled, policy default" in shown
    assert shown.count("Valid") == 1
    assert "default.1" in shown
    adr(emulator, "device", "disable", "pump")
    assert "pump: disabled" in adr(emulator, "device", "show", "pump")
    adr(emulator, "device", "enable", "pump")
    assert "and it is disabled" in adr(emulator, "device", "revoke", "pump", "--disable")
    assert adr(emulator, "device", "show", "pump").count("Revoked") == 1
    document = json.loads(adr(emulator, "device", "show", "pump", "--json"))
    assert document["certificates"][0]["revocationReason"] == "keyCompromise"
    adr(emulator, "device", "delete", "pump")
    assert "no device 'pump'" in refused(emulator, "device", "show", "pump")


def test_command_without_a_running_emulator_says_so(tmp_path: Path) -> None:
    """One sentence and exit code 1."""
    answer = run_cli("adr", "namespace", "list", "--state-dir", str(tmp_path))
    assert answer.returncode == 1
    assert "no emulator runs on" in answer.stderr


def test_list_of_devices_goes_on_to_its_end(emulator: RunningEmulator) -> None:
    """More than one page of the API."""
    management = Management(emulator)
    for number in range(101):
        management.done("PUT", f"namespaces/default/devices/many-{number:03}", {})
    listed = adr(emulator, "device", "list")
    assert all(f"many-{number:03} " in listed for number in range(101))
    link = management.done("GET", "namespaces/default/devices").document["nextLink"]
    assert management.ask_url("GET", link).document["value"][0]["name"] == "many-100"
