"""The official Python service SDK against the service REST API, and the device SDK at the other end."""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.sdk

DEVICE, SERVICE = (Path(__file__).with_name(f"sdk_{name}.py") for name in ("hub_device", "service"))
WAIT_SECONDS = 30.0


def owner(emulator: Any) -> str:
    """The owner's connection string, with the port that REST is on."""
    text = str(emulator.info["hubs"][0]["connectionString"])
    return text.replace("HostName=localhost;", f"HostName=localhost:{emulator.https_port};")


def call_service(emulator: Any, python: Path, *calls: list[Any]) -> list[dict[str, Any]]:
    """Make calls with the service SDK, in their order."""
    order = {"connection_string": owner(emulator), "calls": calls}
    answer = subprocess.run(
        [python, SERVICE],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(emulator.ca_file)},
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


class SdkDevice:
    """A running device of the device SDK, and what it told so far."""

    def __init__(self, python: Path, order: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [python, DEVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def next(self, kind: str) -> Any:
        """Wait for the next thing it tells, which must be of this kind."""
        try:
            told = json.loads(self._lines.get(timeout=WAIT_SECONDS))
        except queue.Empty:
            self.process.kill()
            assert self.process.stderr is not None
            pytest.fail(f"the device did not tell of a {kind}: {self.process.stderr.read()[-3000:]}")
        assert told["kind"] == kind, told
        return told["value"]

    def end(self) -> None:
        """Let it disconnect and end."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        self.process.wait(timeout=WAIT_SECONDS)
        self._reader.join(timeout=WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.stderr.close()


@contextmanager
def sdk_device(emulator: Any, python: Path, device_id: str) -> Iterator[SdkDevice]:
    """A device of the SDK, made by the service SDK, past its first look at the twin."""
    made = call_service(
        emulator, python, ["create_device_with_sas", device_id, "", "", "enabled"], ["get_device", device_id]
    )
    key = made[1]["result"]["authentication"]["symmetric_key"]["primary_key"]
    order = {
        "connection_string": f"HostName=localhost;DeviceId={device_id};SharedAccessKey={key}",
        "ca_file": str(emulator.ca_file),
    }
    device = SdkDevice(python, order)
    try:
        yield device
    finally:
        device.end()


def test_device_and_service_meet_over_twin_method_and_message(azure_ports_emulator: Any, sdk_python: Path) -> None:
    """One device: its twin both ways, a method call and its answer, a message; then it is deleted and thrown out."""
    with sdk_device(azure_ports_emulator, sdk_python, "sdk-hub") as device:
        assert device.next("twin") == {"desired": {"$version": 1}, "reported": {"$version": 1}}
        reported = {"temperature": 21.5, "$version": 2}
        assert device.next("reported") == {"desired": {"$version": 1}, "reported": reported}
        device.next("ready")
        desired = {"@": "TwinProperties", "desired": {"interval": 5, "nested": {"on": True}}}
        patch = {"@": "Twin", "tags": {"site": "a"}, "properties": desired}
        method = {"@": "CloudToDeviceMethod", "method_name": "reboot", "payload": {"delay": 3}}
        patched, called, read = call_service(
            azure_ports_emulator,
            sdk_python,
            ["update_twin", "sdk-hub", patch, "*"],
            ["invoke_device_method", "sdk-hub", method],
            ["get_twin", "sdk-hub"],
        )
        told = device.next("desired")
        assert told == {"interval": 5, "nested": {"on": True}, "$version": 2}
        assert device.next("method") == {"name": "reboot", "payload": {"delay": 3}}
        assert called["result"] == {"status": 207, "payload": {"echo": {"delay": 3}}}
        assert patched["result"]["tags"] == read["result"]["tags"] == {"site": "a"}
        properties = read["result"]["properties"]
        assert {name: properties["desired"][name] for name in ("interval", "nested")} == desired["desired"]
        assert properties["reported"]["temperature"] == 21.5
        assert read["result"]["connection_state"] == "Connected"
        sent = azure_ports_emulator.cli(
            "c2d", "send", "sdk-hub", "hello", "--message-id", "m1", "--property", "a b=c&d", "--content-type", "text/x"
        )
        assert sent.returncode == 0, sent.stderr
        message = device.next("message")
        assert message == {"body": "hello", "message_id": "m1", "content_type": "text/x", "properties": {"a b": "c&d"}}
        begin = azure_ports_emulator.log_end()
        (deleted,) = call_service(azure_ports_emulator, sdk_python, ["delete_device", "sdk-hub"])
        assert deleted == {"result": None}
        azure_ports_emulator.wait_for_log("hub1/sdk-hub: closed: device sdk-hub was deleted", since=begin)


def test_service_sdk_manages_identities(emulator: Any, sdk_python: Path) -> None:
    """Create, read, update by ETag, list, count, query, bulk and delete, as the SDK sends and reads them."""
    bulk = [
        {"@": "ExportImportDevice", "id": f"svc-bulk-{number}", "import_mode": "create", "status": "enabled"}
        for number in range(3)
    ]
    found = call_service(
        emulator,
        sdk_python,
        ["create_device_with_sas", "svc-1", "", "", "enabled"],
        ["create_device_with_sas", "svc-1", "", "", "enabled"],
        ["create_device_with_x509", "svc-2", "A" * 40, "B" * 40, "disabled"],
        ["create_module_with_sas", "svc-1", "mod", "me", "", ""],
        ["get_modules", "svc-1"],
        ["get_module_twin", "svc-1", "mod"],
        ["update_device_with_certificate_authority", "svc-1", "stale", "enabled"],
        ["update_device_with_certificate_authority", "svc-1", "*", "disabled"],
        ["bulk_create_or_update_devices", bulk],
        ["query_iot_hub", {"@": "QuerySpecification", "query": "SELECT * FROM devices"}, None, 2],
        ["query_iot_hub", {"@": "QuerySpecification", "query": "SELECT * FROM devices WHERE deviceId = 'svc-2'"}],
        ["get_device_registry_statistics"],
        ["get_service_statistics"],
        ["delete_device", "svc-1"],
        ["get_device", "svc-1"],
        ["get_twin", "svc-1"],
        ["invoke_device_method", "svc-2", {"@": "CloudToDeviceMethod", "method_name": "m", "payload": None}],
    )
    created, again, x509, module, modules, module_twin, stale, updated, many, page, one, counts, live = found[:13]
    assert len(created["result"]["authentication"]["symmetric_key"]["primary_key"]) == 44
    assert again == {"status": 409, "error": "DeviceAlreadyExists"}
    assert x509["result"]["authentication"]["type"] == "selfSigned"
    assert (module["result"]["module_id"], module["result"]["managed_by"]) == ("mod", "me")
    assert [each["module_id"] for each in modules["result"]] == ["mod"]
    assert module_twin["result"]["module_id"] == "mod"
    assert stale == {"status": 412, "error": "PreconditionFailed"}
    assert updated["result"]["status"] == "disabled"
    assert many["result"]["is_successful"] is True
    assert len(page["result"]["items"]) == 2
    assert page["result"]["continuation"]
    assert [each["device_id"] for each in one["result"]["items"]] == ["svc-2"]
    assert one["result"]["continuation"] is None
    assert counts["result"]["total_device_count"] >= 5
    assert live["result"]["connected_device_count"] >= 0
    assert found[13] == {"result": None}
    assert found[14:16] == [{"status": 404, "error": "DeviceNotFound"}] * 2
    assert found[16] == {"status": 404, "error": "DeviceNotOnline"}
