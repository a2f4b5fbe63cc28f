"""The official management SDK of the device registry, unmodified, pointed at the emulator."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conformance.own_root import make_root, sign_command
from tests.conformance.running_emulator import RunningEmulator

pytestmark = pytest.mark.sdk

SDK_REGISTRY = Path(__file__).with_name("sdk_registry.py")


def test_sdk_drives_the_life_of_a_namespace(emulator: RunningEmulator, sdk_python: Path, tmp_path: Path) -> None:
    """Namespace, credential, several policies, own root, devices, revocation, refusals, and all of it deleted."""
    make_root(tmp_path)
    order = {
        "base_url": f"https://localhost:{emulator.https_port}",
        "ca_file": str(emulator.ca_file),
        "directory": str(tmp_path),
        "sign_command": sign_command(),
    }
    answer = subprocess.run(
        [sdk_python, SDK_REGISTRY], input=json.dumps(order), capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    seen = json.loads(answer.stdout)
    assert "sdk" in seen.pop("listed")
    assert "sdk" in seen.pop("subscription")
    assert seen == {
        "namespace": ["sdk", "eastus", {"a": "b"}, "Succeeded"],
        "no credential yet": [404, "ResourceNotFound"],
        "tags": {"a": "c"},
        "bad name": [400, "InvalidResourceName"],
        "credential": ["default", "Succeeded"],
        "policies": ["plant-1", "plant-2"],
        "policy": [10, "CN=sdk plant-1 ICA", "ECC"],
        "updated": 20,
        "too long": [400, "InvalidValidityPeriod"],
        "credential with policies": [409, "CredentialHasPolicies"],
        "own root": "PendingActivation",
        "bad chain": [400, "InvalidCertificateChain"],
        "activated": ["Active", "CN=sdk own ICA"],
        "revoke own": [400, "InvalidCertificateAuthorityType"],
        "device": ["machine-1", "M", {"x": 1}, True],
        "revoked": [True, False],
        "devices": ["machine-1"],
        "deleted device": [404, "ResourceNotFound"],
        "gone": "ResourceNotFound",
    }
