"""Direct methods: calls that wait for a device's answer.

A call lives as long as the request that made it, so calls are memory. The core does not wait: whoever invokes hands in
`done`, which is called once, with the result or the error, from the packet or the tick that settles it.
"""

import json
import logging
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from broker.gateway import Action, Publish
from hub.connections import Connections
from hub.errors import (
    ArgumentInvalid,
    DeviceConnectionClosedRemotely,
    DeviceMaximumInflightMethodExceeded,
    DeviceNotOnline,
    GatewayTimeout,
    GenericBadGateway,
    HubError,
    IotHubFormatError,
)
from hub.json_text import parse_json
from hub.session import HubSession, Sessions
from hub.topics import METHODS_FILTER, format_method_topic

log = logging.getLogger("hub")

MAX_PAYLOAD_BYTES: Final = 128 * 1024
MAX_IN_FLIGHT: Final = 64  # calls of one device that wait (assumed)
METHOD_NAME = re.compile(r"[^\x00-\x20/+#?%$&]{1,100}")
DEFAULT_RESPONSE_TIMEOUT = timedelta(seconds=30)
MIN_RESPONSE_TIMEOUT, MAX_TIMEOUT = timedelta(seconds=5), timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class MethodCall:
    """What is called: `payload` is JSON text, empty for none at all.

    Raises:
        ArgumentInvalid: a name, payload or timeout is out of range.

    Source: iot-hub-devguide-direct-methods.md, live probes (documented, observed); the characters of a name are
    assumed.
    """

    method_name: str
    payload: bytes = b""
    response_timeout: timedelta = DEFAULT_RESPONSE_TIMEOUT
    connect_timeout: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not METHOD_NAME.fullmatch(self.method_name):
            raise ArgumentInvalid(
                f"methodName {self.method_name[:120]!r} is not 1–100 characters without / + # ? % $ &"
            )
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ArgumentInvalid(f"payload has {len(self.payload)} bytes, it may have {MAX_PAYLOAD_BYTES}")
        if not MIN_RESPONSE_TIMEOUT <= self.response_timeout <= MAX_TIMEOUT:
            raise ArgumentInvalid(
                f"responseTimeoutInSeconds is {self.response_timeout.total_seconds():g}, it must be 5–300"
            )
        if not timedelta(0) <= self.connect_timeout <= MAX_TIMEOUT:
            raise ArgumentInvalid(
                f"connectTimeoutInSeconds is {self.connect_timeout.total_seconds():g}, it must be 0–300"
            )
        if self.connect_timeout > self.response_timeout:
            raise ArgumentInvalid(
                "connectTimeoutInSeconds cannot exceed responseTimeoutInSeconds, the call's overall timeout"
            )


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What a device answered: any 32-bit status, and any JSON."""

    status: int
    payload: Any


Done = Callable[[MethodResult | HubError], None]


@dataclass(slots=True)
class _Pending:
    call: MethodCall
    key: str
    done: Done
    deadline: datetime
    connect_deadline: datetime
    session: HubSession | None = None  # the connection it was sent over, None while it waits for one


class Methods:
    """The calls under way at one hub."""

    def __init__(self, sessions: Sessions, connections: Connections) -> None:
        self._sessions = sessions
        self._connections = connections
        self._pending: dict[str, _Pending] = {}

    def invoke(self, client_id: str, call: MethodCall, now: datetime, done: Done) -> list[Action]:
        """Send a call to a device or module, or keep it until `connect_timeout` for one that is not there yet.

        Raises:
            DeviceNotOnline: it is not connected or takes no calls, and the call does not wait for it.
            DeviceMaximumInflightMethodExceeded: too many calls of it wait already.

        Source: iot-hub-devguide-direct-methods.md (documented).
        """
        key = self._sessions.key(client_id)
        if sum(pending.key == key for pending in self._pending.values()) >= MAX_IN_FLIGHT:
            raise DeviceMaximumInflightMethodExceeded(f"{client_id} has {MAX_IN_FLIGHT} method calls waiting")
        request_id = secrets.token_hex(8)
        pending = _Pending(call, key, done, now + call.response_timeout, now + call.connect_timeout)
        actions = self._send(request_id, pending)
        if not actions and not call.connect_timeout:
            raise _not_online(call)
        self._pending[request_id] = pending
        log.info("device %s: method %s %s", client_id, call.method_name, "called" if actions else "waits for it")
        return actions

    def deliver(self, session: HubSession) -> list[Action]:
        """Send what waited for this connection to take method calls."""
        return [
            action
            for request_id, pending in self._pending.items()
            if pending.key == session.key and pending.session is None
            for action in self._send(request_id, pending)
        ]

    def answered(self, session: HubSession, request_id: str | None, status: int, body: bytes) -> None:
        """Take a device's answer; one that nobody waits for is ignored.

        Source: an empty body is `null`: iot-mqtt-connect-to-iot-hub.md (documented); late answers, and 502000 for one
        that is no JSON or too large, are assumed.
        """
        pending = self._pending.get(request_id or "")
        if pending is None or pending.key != session.key:
            log.info("device %s: answers a method call that nobody waits for", session.device_id)
            return
        self._settle(str(request_id), _read_result(pending.call, status, body))

    def disconnected(self, session: HubSession) -> None:
        """Fail the calls that were sent over this connection."""
        for request_id, pending in list(self._pending.items()):
            if pending.session is session:
                name = pending.call.method_name
                error = DeviceConnectionClosedRemotely(f"{session.device_id} disconnected before it answered {name}")
                self._settle(request_id, error)

    def tick(self, now: datetime) -> None:
        """Fail the calls whose time is over."""
        for request_id, pending in list(self._pending.items()):
            if pending.session is None and now >= pending.connect_deadline:
                self._settle(request_id, _not_online(pending.call))
            elif now >= pending.deadline:
                self._settle(request_id, GatewayTimeout(_timed_out(pending.call)))

    def _send(self, request_id: str, pending: _Pending) -> list[Action]:
        session = self._connections.get(pending.key)
        if session is None or METHODS_FILTER not in self._sessions.subscriptions(pending.key):
            return []
        pending.session = session
        topic = format_method_topic(pending.call.method_name, request_id)
        return [Publish(pending.key, topic, pending.call.payload)]

    def _settle(self, request_id: str, outcome: MethodResult | HubError) -> None:
        self._pending.pop(request_id).done(outcome)


def format_result(result: MethodResult) -> str:
    """Write a result as the service REST API answers it."""
    return json.dumps({"status": result.status, "payload": result.payload})


def _read_result(call: MethodCall, status: int, body: bytes) -> MethodResult | HubError:
    if len(body) > MAX_PAYLOAD_BYTES:
        return GenericBadGateway(
            f"the device answered {call.method_name} with {len(body)} bytes, {MAX_PAYLOAD_BYTES} are allowed"
        )
    try:
        return MethodResult(status, parse_json(body, parse_float=_finite) if body.strip() else None)
    except IotHubFormatError as error:
        return GenericBadGateway(f"the device's answer to {call.method_name} is wrong: {error}")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is a number that no IEEE double holds")
    return value


def _not_online(call: MethodCall) -> DeviceNotOnline:
    timeout = f"{timedelta(0) + call.connect_timeout}".rjust(8, "0")
    return DeviceNotOnline(
        "The operation failed because the requested device isn't online or hasn't registered the direct method "
        "callback. To learn more, see https://aka.ms/iothub404103",
        {"timeout": timeout},
    )


def _timed_out(call: MethodCall) -> str:
    seconds = call.response_timeout.total_seconds()
    return f"Timed out waiting for the response from device: {call.method_name} was not answered within {seconds:g} s"
