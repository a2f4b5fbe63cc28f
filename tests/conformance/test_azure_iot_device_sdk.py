"""The official Python SDK, unmodified, on Azure's ports."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hub.sas import derive_device_key

pytestmark = pytest.mark.sdk

SDK_DEVICE = Path(__file__).with_name("sdk_device.py")


def run_sdk_device(python: Path, order: dict[str, Any]) -> dict[str, Any]:
    answer = subprocess.run(
        [python, SDK_DEVICE], input=json.dumps(order), capture_output=True, text=True, timeout=90, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def order_for(emulator: Any, registration_id: str, *, websockets: bool, **credential: str) -> dict[str, Any]:
    if websockets and emulator.https_port != 443:
        pytest.skip("port 443 is taken or may not be bound: the SDK's WebSocket cannot be pointed elsewhere")
    return {
        "host": "localhost",
        "id_scope": emulator.info["idScope"],
        "registration_id": registration_id,
        "ca_file": str(emulator.ca_file),
        "websockets": websockets,
        "messages": 3,
        **credential,
    }


def assert_provisioned_and_heard(emulator: Any, answer: dict[str, Any], registration_id: str) -> None:
    assert answer["status"] == "assigned"
    assert answer["device_id"] == registration_id
    assert answer["assigned_hub"] == "localhost"
    events = emulator.events(registration_id)
    assert [event["body"] for event in events] == [{"number": number} for number in range(3)]
    assert [event["properties"] for event in events] == [{"number": str(number)} for number in range(3)]


@pytest.mark.parametrize("websockets", [False, True], ids=["tcp", "websocket"])
def test_sdk_provisions_by_x509_and_sends_telemetry(
    azure_ports_emulator: Any, sdk_python: Path, tmp_path: Path, websockets: bool
) -> None:
    """The onboarding certificate of the development CA provisions, and serves at the hub (by its thumbprint)."""
    registration_id = f"sdk-x509-{'ws' if websockets else 'tcp'}"
    pair = azure_ports_emulator.issue_onboarding(registration_id, tmp_path)
    order = order_for(
        azure_ports_emulator, registration_id, websockets=websockets,
        certificate_file=str(pair.chain_file),
        key_file=str(pair.key_file),
    )  # fmt: skip
    answer = run_sdk_device(sdk_python, order)
    assert_provisioned_and_heard(azure_ports_emulator, answer, registration_id)


@pytest.mark.parametrize("websockets", [False, True], ids=["tcp", "websocket"])
def test_sdk_provisions_by_symmetric_key_and_sends_telemetry(
    azure_ports_emulator: Any, sdk_python: Path, websockets: bool
) -> None:
    """The key derived from the group's key provisions, and signs the hub's tokens too."""
    registration_id = f"sdk-key-{'ws' if websockets else 'tcp'}"
    groups = azure_ports_emulator.info["enrollmentGroups"]
    group = next(each for each in groups if each["attestation"] == "symmetricKey")
    key = derive_device_key(group["primaryKey"], registration_id)
    order = order_for(azure_ports_emulator, registration_id, websockets=websockets, symmetric_key=key)
    answer = run_sdk_device(sdk_python, order)
    assert_provisioned_and_heard(azure_ports_emulator, answer, registration_id)


def test_sdk_is_told_that_a_wrong_key_is_unauthorized(azure_ports_emulator: Any, sdk_python: Path) -> None:
    """The SDK connects, registers and gets 401: its register call raises, it does not hang."""
    order = order_for(
        azure_ports_emulator, "sdk-wrong-key", websockets=False,
        symmetric_key=derive_device_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "sdk-wrong-key"),
    )  # fmt: skip
    answer = subprocess.run(
        [sdk_python, SDK_DEVICE], input=json.dumps(order), capture_output=True, text=True, timeout=90, check=False
    )
    assert answer.returncode != 0
    assert "401" in answer.stderr
