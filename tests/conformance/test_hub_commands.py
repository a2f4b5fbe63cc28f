"""`hublet twin`, `method` and `c2d` against a running emulator, and REST on the HTTPS front."""

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from hub.sas import format_sas_token
from tests.conformance.running_emulator import REPOSITORY


def control(emulator: Any, method: str, path: str, document: Any = None) -> Any:
    """Ask the control API."""
    body = None if document is None else json.dumps(document).encode()
    url = f"http://127.0.0.1:{emulator.control_port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10) as answer:
        found = answer.read()
    return json.loads(found) if found else None


@pytest.fixture(scope="module")
def device(emulator: Any) -> str:
    """A device that is registered and away."""
    control(emulator, "PUT", "/hubs/hub1/devices/cli%2B1", {"deviceId": "cli+1"})
    return "cli+1"


def said(answer: subprocess.CompletedProcess[str]) -> Any:
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def complaint(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 1, answer.stdout
    return answer.stderr.strip()


def test_twin_is_updated_and_shown(emulator: Any, device: str) -> None:
    """Both print the twin as services see it."""
    updated = said(emulator.cli("twin", "update", device, "--desired", '{"a":1}', "--tags", '{"t":"x"}', "--replace"))
    shown = said(emulator.cli("twin", "show", device))
    assert shown == updated
    assert (shown["tags"], shown["properties"]["desired"]["a"]) == ({"t": "x"}, 1)
    merged = said(emulator.cli("twin", "update", device, "--desired", '{"a":null,"b":2}'))
    assert {name for name in merged["properties"]["desired"] if not name.startswith("$")} == {"b"}


def test_message_is_enqueued(emulator: Any, device: str) -> None:
    """The answer names the message; a device that is away gets it later."""
    sent = said(emulator.cli("c2d", "send", device, "hello", "--message-id", "m1", "--ack", "full", "--expires", "60"))
    assert (sent["deviceId"], sent["messageId"]) == (device, "m1")
    assert control(emulator, "DELETE", "/hubs/hub1/devices/cli%2B1/commands")["totalMessagesPurged"] >= 1


def test_refusals_are_said_in_one_line(emulator: Any, device: str) -> None:
    """The error's name and message, whichever envelope they came in, and exit code 1."""
    assert "isn't online" in complaint(emulator.cli("method", "invoke", device, "reboot", '{"delay":3}'))
    assert complaint(emulator.cli("twin", "show", "nobody")) == "hublet: DeviceNotFound: Device nobody not registered"
    assert "not JSON" in complaint(emulator.cli("twin", "update", device, "--desired", "{"))
    assert "nothing to do" in complaint(emulator.cli("twin", "update", device))
    assert "no hub 'nowhere'" in complaint(emulator.cli("twin", "show", device, "--hub", "nowhere"))
    assert "--property" in complaint(emulator.cli("c2d", "send", device, "x", "--property", "=1"))


def test_rest_is_served_over_tls_beside_websockets(emulator: Any, device: str) -> None:
    """A token of the owner's policy on the HTTPS port, and a refusal without one."""
    text = emulator.info["hubs"][0]["connectionString"]
    key = text.partition("SharedAccessKey=")[2]
    token = format_sas_token("localhost", key, 4_000_000_000, "iothubowner")
    trust = ssl.create_default_context(cafile=str(emulator.ca_file))
    url = f"https://localhost:{emulator.https_port}/twins/cli%2B1?api-version=2021-04-12"
    request = urllib.request.Request(url, headers={"Authorization": token})
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        assert json.load(answer)["deviceId"] == device
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10, context=trust)
    assert refused.value.code == 401
    assert refused.value.headers["iothub-errorcode"] == "GenericUnauthorized"
    refused.value.close()


def test_state_survives_a_kill(start: Any) -> None:
    """Twin and queue were acknowledged, so they are there after a kill."""
    emulator = start()
    control(emulator, "PUT", "/hubs/hub1/devices/d", {})
    control(emulator, "PATCH", "/hubs/hub1/twins/d", {"tags": {"a": 1}})
    control(emulator, "POST", "/hubs/hub1/devices/d/messages", {"body": "x"})
    emulator.kill()
    again = start()
    assert control(again, "GET", "/hubs/hub1/twins/d")["tags"] == {"a": 1}
    assert control(again, "GET", "/hubs/hub1/devices/d")["cloudToDeviceMessageCount"] == 1


def test_stop_does_not_wait_for_a_method_call(start: Any) -> None:
    """A call that waits five minutes for its device ends with the emulator, which ends in order."""
    emulator = start()
    control(emulator, "PUT", "/hubs/hub1/devices/d", {})
    state = str(emulator.state_dir)
    command = [sys.executable, "-m", "emulator", "method", "invoke", "d", "m", "--state-dir", state]
    options = ["--timeout", "300", "--connect-timeout", "300"]
    begin = emulator.log_end()
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as caller:
        emulator.wait_for_log("device d", "method m waits", since=begin)
        assert emulator.stop() == 0
        assert caller.wait(timeout=20) == 1
