"""The control API against web pages in a browser on the emulator's own machine."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import pytest

from tests.conformance.running_emulator import RunningEmulator, start_emulator

NAMESPACE = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.DeviceRegistry/namespaces/default"
ISSUER = f"{NAMESPACE}/credentials/default/policies/default"
VERSION = "api-version=2025-11-01-preview"
CHANGES = {
    "revoked issuer": (f"{ISSUER}/revokeIssuer?{VERSION}", b""),
    "method": ("/hubs/hub1/twins/dev1/methods?api-version=2021-04-12", b'{"methodName": "reboot"}'),
    "query": ("/hubs/hub1/devices/query?api-version=2021-04-12", b'{"query": "SELECT * FROM devices"}'),
    "clock": ("/clock", b'{"advance": "30d"}'),
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    running = start_emulator(tmp_path_factory.mktemp("control"))
    yield running
    running.stop()


def ask(emulator: RunningEmulator, path: str, headers: Mapping[str, str], body: bytes | None = None) -> int:
    url = f"http://127.0.0.1:{emulator.control_port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers)), timeout=10) as answer:
            status: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    return status


@pytest.mark.parametrize("change", CHANGES)
def test_form_of_a_foreign_page_changes_nothing(emulator: RunningEmulator, change: str) -> None:
    """A browser sends `text/plain` to another origin without asking first."""
    path, body = CHANGES[change]
    issuer = emulator.get(f"{ISSUER}", {"api-version": VERSION.partition("=")[2]})
    before, since = json.loads(emulator.get("/clock"))["offsetSeconds"], emulator.log_end()
    headers = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    assert ask(emulator, path, headers, body) == 403
    emulator.wait_for_log("refused: a page of 'http://evil.example'", since=since)
    assert emulator.get(f"{ISSUER}", {"api-version": VERSION.partition("=")[2]}) == issuer
    assert json.loads(emulator.get("/clock"))["offsetSeconds"] == before


@pytest.mark.parametrize("path", ["/info", "/events", "/audit", "/ca.pem", "/nothing"])
def test_name_that_leads_to_loopback_opens_nothing(emulator: RunningEmulator, path: str) -> None:
    """DNS rebinding: the page's own host name, resolved to 127.0.0.1."""
    assert ask(emulator, path, {"Host": f"evil.example:{emulator.control_port}"}) == 403


def test_program_on_this_machine_is_let_in(emulator: RunningEmulator) -> None:
    for host in ("localhost", "127.0.0.1"):
        assert ask(emulator, "/info", {"Host": f"{host}:{emulator.control_port}"}) == 200
