"""Devices that register again, and devices of a CA that was uploaded: what their enrollments say happens to them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.pem import format_pem, format_private_key
from tests.conformance.plain_device import DpsClient, HubClient, Pair, derived_key, tls_context
from tests.conformance.running_emulator import RunningEmulator

TWO_HUBS = """
hubs: {hub1: {}, hub2: {}}
dps:
  dps1:
    enrollment_groups:
      migrate: {symmetric_key: generate, hubs: [%(hub)s], reprovision: migrate}
      reset:
        symmetric_key: generate
        hubs: [%(hub)s]
        reprovision: reset
        initial_twin: {tags: {site: new}, properties: {desired: {interval: 60}}}
      never: {symmetric_key: generate, hubs: [%(hub)s], reprovision: never}
"""
OUTCOMES = {
    "migrate": ("hub2.localhost", "deviceDataMigrated", {"site": "old"}, {"speed": 5}),
    "reset": ("hub2.localhost", "deviceDataReset", {"site": "new"}, {"interval": 60}),
    "never": ("localhost", "initialAssignment", {"site": "old"}, {"speed": 5}),
}
UPLOADED = """
hubs: {hub1: {}}
dps: {dps1: {enrollment_groups: {plant: {ca_references: [plant-ca]}}}}
"""


def register(emulator: RunningEmulator, group: str) -> dict[str, Any]:
    """Register the device that is called like its group."""
    groups = emulator.info["provisioningServices"][0]["enrollmentGroups"]
    key = derived_key(next(each["primaryKey"] for each in groups if each["id"] == group), group)
    context = tls_context(emulator.ca_file)
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), group, key).connected() as dps:
        answer = dps.onboard({"registrationId": group})
    assert answer.body["status"] == "assigned", answer
    return answer.state


def twin_of(emulator: RunningEmulator, hub: str, device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tags and desired properties of a device."""
    twin = json.loads(emulator.get(f"/hubs/{hub}/twins/{device}", {"api-version": "2021-04-12"}))
    desired = {name: value for name, value in twin["properties"]["desired"].items() if not name.startswith("$")}
    return twin["tags"], desired


def test_reprovision_policy_keeps_migrates_or_resets_the_twin(start: Any) -> None:
    """When the enrollments' hub changes, devices move as theirs says, and their twins with them or not."""
    emulator: RunningEmulator = start(config=TWO_HUBS % {"hub": "hub1"})
    for group in OUTCOMES:
        assert register(emulator, group)["assignedHub"] == "localhost"
        changed = ("--tags", '{"site": "old"}', "--desired", '{"speed": 5}', "--replace")
        updated = emulator.cli("twin", "update", group, *changed)
        assert updated.returncode == 0, updated.stderr
    assert emulator.stop() == 0
    emulator = start(config=TWO_HUBS % {"hub": "hub2"})
    for group, (host, substatus, tags, desired) in OUTCOMES.items():
        state = register(emulator, group)
        assert (state["assignedHub"], state["substatus"]) == (host, substatus)
        hub = "hub1" if host == "localhost" else "hub2"
        assert twin_of(emulator, hub, group) == (tags, desired)


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048], ids=str)
def test_group_of_an_uploaded_ca_lets_devices_in_once_possession_is_proven(
    start: Any, tmp_path: Path, key_type: KeyType
) -> None:
    """The declared group names the CA; `hublet ca` brings it and takes the proof, while devices try."""
    emulator: RunningEmulator = start(config=UPLOADED)
    now, day = datetime.now(UTC), timedelta(days=1)
    root = CertificateAuthority.create_root("Plant Root", now, key_type=key_type)
    plant = root.issue_intermediate("Plant CA", now, key_type=key_type)

    def pair_of(name: str) -> Pair:
        key = generate_key(key_type)
        leaf = plant.issue_onboarding(name, key.public_key(), now, validity=day)
        return Pair.write(tmp_path / "pairs", name, format_pem(leaf, plant.certificate), format_private_key(key))

    device = pair_of("machine-1")
    context = tls_context(emulator.ca_file, device)
    client = DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "machine-1")
    ca_file = tmp_path / "plant.pem"
    ca_file.write_bytes(format_pem(plant.certificate))
    added = emulator.cli("ca", "add", "dps1", "plant-ca", str(ca_file))
    assert added.returncode == 0, added.stderr
    with client.connected() as dps:
        assert dps.register({}).status == 401
    code = json.loads(emulator.get("/ca-certificates"))["caCertificates"][0]["verificationCode"]
    verified = emulator.cli("ca", "verify", "dps1", "plant-ca", str(pair_of(code).chain_file))
    assert "one certificate is wanted" in verified.stderr
    proof = tmp_path / "proof.pem"
    proof.write_bytes(format_pem(pair_of(code).leaf))
    assert emulator.cli("ca", "verify", "dps1", "plant-ca", str(proof)).returncode == 0
    client = DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "machine-1")
    with client.connected() as dps:
        assert dps.onboard({}).body["status"] == "assigned"
    HubClient.make(emulator.mqtt_port, context, "localhost", "machine-1").connected().close()
