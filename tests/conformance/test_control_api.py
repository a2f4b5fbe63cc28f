"""Bad input to the control API: a documented error body for each, nothing changed, and everything still readable."""

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.management import Management
from tests.conformance.plain_device import DpsClient, HubClient, derived_key, tls_context
from tests.conformance.running_emulator import RunningEmulator, start_emulator

HUB_DEVICE = "/hubs/hub1/devices/nobody?api-version=2021-04-12"
CHANGES = (("POST", "/clock"), ("POST", "/faults"), ("POST", "/quota"), ("PUT", "/ca-certificates/dps1/mine"))
BRACKETS = "[" * 5000


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """One of its own: its clock is moved, and faults are set."""
    running = start_emulator(tmp_path_factory.mktemp("control"))
    yield running
    running.stop()


def ask(
    emulator: RunningEmulator, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
) -> tuple[int, Any]:
    """Send a request exactly as it is written here, and read its answer as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", emulator.control_port, timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def shown(emulator: RunningEmulator) -> list[Mapping[str, Any]]:
    """What a refusal must not change."""
    found = [json.loads(emulator.get(path)) for path in ("/clock", "/faults", "/quota", "/ca-certificates")]
    return [{name: value for name, value in each.items() if name not in {"now", "machine"}} for each in found]


@pytest.mark.parametrize("path", ["/events", "/audit"])
@pytest.mark.parametrize("text", [BRACKETS, "[]", "x", '{"hub1/0":-1}', '{"hub1/0":true}', '{"hub1/0":1.5}'])
def test_position_that_is_none_is_refused(emulator: RunningEmulator, path: str, text: str) -> None:
    status, answer = ask(emulator, "GET", f"{path}?from={text}")
    assert (status, list(answer)) == (400, ["error"])
    assert answer["error"].startswith("from: ")


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"x": 1}', "application/json; charset=nope", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 400),
        (BRACKETS.encode() * 20, "application/json", 400),
        (b'"' + b"x" * 2_000_000 + b'"', "application/json", 413),
    ],
    ids=["charset", "no-utf-8", "type", "brackets", "long"],
)
def test_body_that_is_none_is_refused_and_changes_nothing(
    emulator: RunningEmulator, method: str, path: str, body: bytes, content_type: str, status: int
) -> None:
    before = shown(emulator)
    answer = ask(emulator, method, path, body, content_type)
    assert (answer[0], list(answer[1])) == (status, ["error"])
    assert shown(emulator) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/faults/a/b", 404),
        ("PATCH", "/clock", 405),
        ("GET", "/ca/nowhere.cer", 404),
        ("GET", "/crl/%ff.crl", 404),
        ("GET", "/hubs", 404),
    ],
)
def test_path_or_method_that_is_none_is_refused(emulator: RunningEmulator, method: str, path: str, status: int) -> None:
    answer = ask(emulator, method, path)
    assert (answer[0], list(answer[1])) == (status, ["error"])


def test_long_body_for_a_hub_is_refused_in_its_own_words(emulator: RunningEmulator) -> None:
    """On both fronts."""
    body = b'"' + b"x" * 2_000_000 + b'"'
    status, answer = ask(emulator, "PUT", HUB_DEVICE, body)
    assert (status, set(answer)) == (413, {"Message", "ExceptionMessage"})
    url = f"https://localhost:{emulator.https_port}/devices/nobody?api-version=2021-04-12"
    reply = Management(emulator).ask_url("PUT", url, raw=body)
    assert (reply.status, reply.headers["iothub-errorcode"]) == (413, "MessageTooLarge")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud800")
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)
members = st.sampled_from(
    [
        "advance", "set", "freeze", "resume", "reset", "kind", "operation", "phase", "device", "service", "enrollment",
        "nth", "probability", "seed", "limit", "seconds", "retryAfterSeconds", "status", "name", "profile",
        "messageProperties", "mode", "tier", "units", "certificate", "isVerified",
    ]
)  # fmt: skip
right = st.sampled_from(["cut", "wrong-key", "register", "issue", "after", "storm", "report", "S2", "1d", True])


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(CHANGES), st.dictionaries(members, documents | right, max_size=4) | documents)
def test_any_change_is_made_or_refused_with_a_reason(
    emulator: RunningEmulator, change: tuple[str, str], document: Any
) -> None:
    """Whatever comes: what is refused changes nothing, and what is accepted can be shown and taken back."""
    before = shown(emulator)
    status, answer = ask(emulator, *change, json.dumps(document).encode())
    if status == 200:
        shown(emulator)
        take_back(emulator)
        return
    assert (status, list(answer)) in [(400, ["error"]), (404, ["error"])]
    assert shown(emulator) == before


def take_back(emulator: RunningEmulator) -> None:
    """Undo whatever a change may have set."""
    for path, body in (
        ("/clock", b'{"reset": true}'),
        ("/faults", b'{"messageProperties": false}'),
        ("/quota", b'{"mode": "off", "tier": "S1", "units": 1}'),
    ):
        assert ask(emulator, "POST", path, body)[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", emulator.control_port, timeout=10)
    connection.request("DELETE", "/faults")
    assert connection.getresponse().status == 204
    connection.close()


def test_whatever_a_device_sends_can_be_listed(emulator: RunningEmulator) -> None:
    """Bodies that JSON parsers choke on are told as text."""
    context, key = tls_context(emulator.ca_file), derived_key(emulator.group_key(), "odd")
    with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), "odd", key).connected() as dps:
        assert dps.onboard({"registrationId": "odd"}).state["status"] == "assigned"
    bodies = [BRACKETS, "NaN", "9" * 5000, '"\\ud800"']
    with HubClient.make(emulator.mqtt_port, context, "localhost", "odd", key).connected() as hub:
        for body in bodies:
            hub.publish("devices/odd/messages/events/", body.encode())
    assert {str(event["body"]) for event in emulator.events("odd")} == {*bodies[:3], "\ud800"}
