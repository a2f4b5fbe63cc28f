"""Direct methods, through the gateway."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.errors import (
    ArgumentInvalid,
    DeviceConnectionClosedRemotely,
    DeviceMaximumInflightMethodExceeded,
    DeviceNotOnline,
    GatewayTimeout,
    GenericBadGateway,
    HubError,
)
from hub.method_document import parse_method_document
from hub.methods import MAX_IN_FLIGHT, MAX_PAYLOAD_BYTES, MethodCall, MethodResult, format_result
from hub.sas import format_sas_token

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
METHODS = "$iothub/methods/POST/#"
SECOND = timedelta(seconds=1)


class Caller:
    """A service that calls methods of `dev1`, and what it is told."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.chain = house.onboard("dev1")
        self.outcomes: list[MethodResult | HubError] = []

    def connect(self, *filters: str, clean: bool = True) -> Any:
        device = self.house.connect("dev1", clean_session=clean, peer_chain=self.chain)
        device.subscribe(*filters)
        return device

    def call(self, device: Any = None, name: str = "reboot", client_id: str = "dev1", **members: Any) -> None:
        call = MethodCall(name, **members)
        actions = self.house.hub.methods.invoke(client_id, call, NOW, self.outcomes.append)
        if device is not None:
            device.perform(actions)
        else:
            assert actions == []


@pytest.fixture
def caller(house: Any) -> Caller:
    return Caller(house)


def request_id(message: Any) -> str:
    return str(message.topic.partition("?$rid=")[2])


def answer(device: Any, status: Any, body: bytes, number: int = -1) -> None:
    device.publish(f"$iothub/methods/res/{status}/?$rid={request_id(device.received[number])}", body)


def test_call_and_answer(caller: Caller) -> None:
    device = caller.connect(METHODS)
    caller.call(device, payload=b'{"a":1}')
    (message,) = device.received
    head, _, rid = message.topic.partition("?$rid=")
    assert (head, message.payload, message.qos) == ("$iothub/methods/POST/reboot/", b'{"a":1}', 0)
    assert rid.isalnum()
    assert caller.outcomes == []
    answer(device, 207, b'{"b":[1.0,null]}')
    assert caller.outcomes == [MethodResult(207, {"b": [1.0, None]})]
    assert format_result(caller.outcomes[0]) == '{"status": 207, "payload": {"b": [1.0, null]}}'  # type: ignore[arg-type]


@pytest.mark.parametrize(("body", "payload"), [(b"", None), (b" ", None), (b"null", None), (b'"x"', "x"), (b"0", 0)])
def test_answer_may_be_any_json_or_nothing(caller: Caller, body: bytes, payload: Any) -> None:
    device = caller.connect(METHODS)
    caller.call(device)
    answer(device, -5, body)
    assert caller.outcomes == [MethodResult(-5, payload)]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"x": [-1e999]}', b"x" * (MAX_PAYLOAD_BYTES + 1)])
def test_answer_that_is_no_json_or_too_large_fails_the_call(caller: Caller, body: bytes) -> None:
    device = caller.connect(METHODS)
    caller.call(device)
    answer(device, 200, body)
    assert isinstance(caller.outcomes[0], GenericBadGateway)
    assert device.closed is None


@pytest.mark.parametrize("status", ["", "x", "1.5", "2147483648", "--1"])
def test_status_that_is_no_integer_closes_the_connection(caller: Caller, status: str) -> None:
    device = caller.connect(METHODS)
    caller.call(device)
    answer(device, status, b"")
    assert "is not a 32-bit whole number" in device.closed


def test_answer_that_nobody_waits_for_is_ignored(caller: Caller) -> None:
    device = caller.connect(METHODS)
    caller.call(device)
    device.publish("$iothub/methods/res/200/?$rid=other")
    device.publish("$iothub/methods/res/200/")
    answer(device, 200, b"")
    answer(device, 201, b"")
    assert caller.outcomes == [MethodResult(200, None)]
    assert device.closed is None


def test_another_device_cannot_answer(caller: Caller) -> None:
    device = caller.connect(METHODS)
    caller.call(device)
    other = caller.house.connect("dev2", peer_chain=caller.house.onboard("dev2"))
    other.publish(f"$iothub/methods/res/200/?$rid={request_id(device.received[0])}")
    assert caller.outcomes == []


@pytest.mark.parametrize("filters", [None, ()])
def test_device_that_is_away_or_takes_no_calls_is_not_online(caller: Caller, filters: Any) -> None:
    if filters is not None:
        caller.connect()
    with pytest.raises(DeviceNotOnline, match=r"aka\.ms/iothub404103") as error:
        caller.call()
    assert error.value.info == {"timeout": "00:00:00"}


def test_stored_subscription_does_not_make_a_device_online(caller: Caller) -> None:
    caller.connect(METHODS, clean=False).disconnect()
    with pytest.raises(DeviceNotOnline):
        caller.call()


def test_call_may_wait_for_its_device(caller: Caller) -> None:
    caller.call(connect_timeout=10 * SECOND)
    device = caller.connect()
    assert device.received == []
    device.subscribe(METHODS)
    assert len(device.received) == 1
    device.subscribe(METHODS)
    assert len(device.received) == 1
    answer(device, 200, b"1")
    assert caller.outcomes == [MethodResult(200, 1)]


def test_call_may_wait_for_a_session_to_resume(caller: Caller) -> None:
    caller.connect(METHODS, clean=False).disconnect()
    caller.call(connect_timeout=10 * SECOND)
    device = caller.house.connect("dev1", clean_session=False, peer_chain=caller.chain)
    assert len(device.received) == 1


def test_call_does_not_wait_longer_than_it_said(caller: Caller) -> None:
    caller.call(connect_timeout=10 * SECOND)
    caller.house.hub.gateway.tick(NOW + 9 * SECOND)
    assert caller.outcomes == []
    caller.house.hub.gateway.tick(NOW + 10 * SECOND)
    (error,) = caller.outcomes
    assert isinstance(error, DeviceNotOnline)
    assert error.info == {"timeout": "00:00:10"}


def test_call_that_is_not_answered_times_out(caller: Caller) -> None:
    device = caller.connect(METHODS)
    caller.call(device, response_timeout=5 * SECOND)
    device.tick(4 * SECOND)
    assert caller.outcomes == []
    device.tick(SECOND)
    (error,) = caller.outcomes
    assert isinstance(error, GatewayTimeout)
    assert (error.code, error.status) == (504101, 504)
    answer(device, 200, b"")
    assert len(caller.outcomes) == 1


def test_call_fails_with_the_connection_it_went_over(caller: Caller) -> None:
    device = caller.connect(METHODS)
    caller.call(device)
    new = caller.connect(METHODS)
    caller.call(new)
    device.disconnect()
    (error,) = caller.outcomes
    assert isinstance(error, DeviceConnectionClosedRemotely)
    answer(new, 200, b"")
    assert caller.outcomes[1:] == [MethodResult(200, None)]


def test_calls_in_flight_are_limited(caller: Caller) -> None:
    device = caller.connect(METHODS)
    for _ in range(MAX_IN_FLIGHT):
        caller.call(device)
    with pytest.raises(DeviceMaximumInflightMethodExceeded):
        caller.call(device)
    answer(device, 200, b"")
    caller.call(device)


def test_module_answers_for_itself(caller: Caller) -> None:
    house = caller.house
    key = house.hub.registry.create_module("dev1", "mod1", None, NOW).authentication.primary_key
    module = house.connect("dev1/mod1", password=format_sas_token("hub1.example", key, 1900000000).encode())
    module.subscribe(METHODS)
    caller.call(module, client_id="dev1/mod1")
    answer(module, 200, b"")
    assert caller.outcomes == [MethodResult(200, None)]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "methodName must be a text"),
        ({"methodName": ""}, "methodName ''"),
        ({"methodName": "a/b"}, "methodName 'a/b'"),
        ({"methodName": "x" * 101}, "1–100 characters"),
        ({"methodName": "m", "payload": "x" * MAX_PAYLOAD_BYTES}, "payload has"),
        ({"methodName": "m", "responseTimeoutInSeconds": 4}, "is 4, it must be 5–300"),
        ({"methodName": "m", "responseTimeoutInSeconds": 301}, "is 301, it must be 5–300"),
        ({"methodName": "m", "responseTimeoutInSeconds": "5"}, "whole number of seconds"),
        ({"methodName": "m", "responseTimeoutInSeconds": True}, "whole number of seconds"),
        ({"methodName": "m", "connectTimeoutInSeconds": 10**30}, "whole number of seconds"),
        ({"methodName": "m", "connectTimeoutInSeconds": -1}, "it must be 0–300"),
        ({"methodName": "m", "connectTimeoutInSeconds": 31}, "cannot exceed responseTimeoutInSeconds"),
        ({"methodName": "m", "payload": {"a": [math.inf]}}, "no IEEE double"),
    ],
)
def test_bad_call_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentInvalid, match=said):
        parse_method_document(document)


@pytest.mark.parametrize(
    ("members", "call"),
    [
        ({}, MethodCall("m")),
        ({"payload": None}, MethodCall("m", b"null")),
        ({"payload": {"a": 1.0}}, MethodCall("m", b'{"a": 1.0}')),
        ({"timeoutInSeconds": 7}, MethodCall("m", response_timeout=7 * SECOND)),
        ({"responseTimeoutInSeconds": 9, "connectTimeoutInSeconds": 9}, MethodCall("m", b"", 9 * SECOND, 9 * SECOND)),
    ],
)
def test_call_reads_as_documented(members: dict[str, Any], call: MethodCall) -> None:
    assert parse_method_document({"methodName": "m", **members}) == call
