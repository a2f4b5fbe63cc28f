"""Microsoft's own fault injection: application properties of a telemetry message that ask the hub to misbehave.

Source: azure-iot-sdk-csharp e2e FaultInjection.cs, azure-iot-sdk-c iothubclient_common_e2e.c (sdk). Their tests set up
nothing on the hub for it, so hubs obey unless told not to; a comment of the latter says that some hubs do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from broker.gateway import (
    Action,
    AnyGateway,
    Close,
    ConnectRequest,
    ConnectReturnCode,
    Drop,
    Refusal,
    Session,
    Will,
    Withhold,
)
from emulator.faults.gateway import Cancel, Surroundings
from hub.property_bag import PropertyBag, PropertyBagError, parse_property_bag

OPERATION_TYPE: Final = "AzIoTHub_FaultOperationType"
CLOSE_REASON: Final = "AzIoTHub_FaultOperationCloseReason"
DELAY: Final = "AzIoTHub_FaultOperationDelayInSecs"
DURATION: Final = "AzIoTHub_FaultOperationDurationInSecs"
EVENTS: Final = "/messages/events/"
# Longer than any SDK's test asks for (assumed).
MAX_SECONDS: Final = 3600.0
MAX_REASON_CHARACTERS: Final = 100


class FaultOperation(StrEnum):
    """The types that concern MQTT; those that begin with `KillAmqp`, and `ShutDownAmqp`, end nothing here."""

    KILL_TCP = "KillTcp"
    SHUT_DOWN_MQTT = "ShutDownMqtt"
    INVOKE_THROTTLING = "InvokeThrottling"
    INVOKE_MAX_MESSAGE_QUOTA = "InvokeMaxMessageQuota"
    INVOKE_AUTH_ERROR = "InvokeAuthError"


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """What a message asks for: a fault that begins after a delay and lasts for a duration, in seconds."""

    operation: FaultOperation
    close_reason: str
    delay: float
    duration: float


@dataclass(frozen=True, slots=True)
class _Mode:
    operation: FaultOperation
    begins_at: datetime
    ends_at: datetime


def parse_fault_order(properties: PropertyBag) -> FaultOrder | None:
    """Read the fault that a message asks for, None if it asks for none, or for one that does not concern MQTT."""
    name = properties.get(OPERATION_TYPE)
    try:
        operation = FaultOperation(name or "")
    except ValueError:
        return None
    reason = (properties.get(CLOSE_REASON) or "")[:MAX_REASON_CHARACTERS]
    return FaultOrder(operation, reason, _seconds(properties.get(DELAY)), _seconds(properties.get(DURATION)))


def _seconds(text: str | None) -> float:
    return min(float(text), MAX_SECONDS) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0.0


class FaultyMessages:
    """Implements `broker.gateway.Gateway` over a hub's, and does to a device what its messages ask for.

    The message itself is an event like any other; without a delay its PUBACK is lost with the connection. What
    `InvokeThrottling`, `InvokeMaxMessageQuota` and `InvokeAuthError` do over MQTT is assumed: the first two keep
    PUBACKs back until the duration is over, the last ends the connection and refuses the device as long.
    """

    def __init__(self, inner: AnyGateway, service: str, around: Surroundings) -> None:
        self._inner = inner
        self._service = service
        self._around = around
        self._modes: dict[str, _Mode] = {}
        self._ends: dict[str, Cancel] = {}

    def connect(self, request: ConnectRequest, now: datetime) -> Session | Refusal:
        """Refuse a device that asked for it."""
        mode = self._mode(request.client_id.partition("/")[0], now)
        if mode is not None and mode.begins_at <= now and mode.operation is FaultOperation.INVOKE_AUTH_ERROR:
            return Refusal(ConnectReturnCode.NOT_AUTHORIZED, f"{mode.operation} until {mode.ends_at:%H:%M:%S}")
        outcome: Session | Refusal = self._inner.connect(request, now)
        return outcome

    def opened(self, session: Session, now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.opened(session, now)

    def may_subscribe(self, session: Session, topic_filter: str) -> bool:
        """Ask the real gateway."""
        return self._inner.may_subscribe(session, topic_filter)

    def subscribed(self, session: Session, topic_filters: Sequence[tuple[str, int]], now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.subscribed(session, topic_filters, now)

    def unsubscribed(self, session: Session, topic_filters: Sequence[str], now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.unsubscribed(session, topic_filters, now)

    def acknowledged(self, session: Session, token: str, now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.acknowledged(session, token, now)

    def disconnected(self, session: Session, now: datetime, *, will: Will | None) -> list[Action]:
        """Give up the end that was ordered for this connection."""
        cancel = self._ends.pop(session.key, None)
        if cancel is not None:
            cancel()
        return self._inner.disconnected(session, now, will=will)

    def tick(self, now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.tick(now)

    def receive(
        self, session: Session, topic: str, payload: bytes, qos: int, *, retain: bool, dup: bool, now: datetime
    ) -> list[Action]:
        """Take a message, and what it asks for."""
        actions = self._inner.receive(session, topic, payload, qos, retain=retain, dup=dup, now=now)
        if EVENTS not in topic:
            return actions
        mode = self._mode(session.device_id, now) if self._modes else None
        if mode is not None and mode.begins_at <= now:
            actions = [*actions, Withhold(session.key, (mode.ends_at - now).total_seconds())]
        if "AzIoTHub_Fault" in topic:
            actions = [*actions, *self._carry_out(session, topic, now)]
        return actions

    def _carry_out(self, session: Session, topic: str, now: datetime) -> list[Action]:
        try:
            order = parse_fault_order(parse_property_bag(topic.partition(EVENTS)[2].removesuffix("/")))
        except PropertyBagError:
            return []
        if order is None:
            return []
        what = f"{order.operation} in {order.delay:g} s for {order.duration:g} s"
        self._around.ordered(self._service, session.device_id, what, now)
        if order.operation not in {FaultOperation.KILL_TCP, FaultOperation.SHUT_DOWN_MQTT}:
            begins_at = now + timedelta(seconds=order.delay)
            self._modes[session.device_id] = _Mode(
                order.operation, begins_at, begins_at + timedelta(seconds=order.duration)
            )
        end = _end_of(order, session.key)
        if end is None:
            return []
        if not order.delay:
            return [end]
        if session.key not in self._ends:
            self._ends[session.key] = self._around.later(order.delay, [end])
        return []

    def _mode(self, device_id: str, now: datetime) -> _Mode | None:
        mode = self._modes.get(device_id)
        if mode is not None and mode.ends_at <= now:
            del self._modes[device_id]
            return None
        return mode


def _end_of(order: FaultOrder, session_key: str) -> Action | None:
    """Say how a connection ends, None if it goes on."""
    reason = f"{order.operation}: {order.close_reason}"
    match order.operation:
        case FaultOperation.KILL_TCP | FaultOperation.INVOKE_AUTH_ERROR:
            return Drop(session_key, reason)
        case FaultOperation.SHUT_DOWN_MQTT:
            return Close(session_key, reason)
        case _:
            return None
