"""The messages of one device: at a rate whatever the hub does (open loop), or each after the one before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from device_sim.errors import DeviceError
from device_sim.hub_session import HubSession
from device_sim.payload import Payloads
from device_sim.scenario_behaviour import Telemetry
from device_sim.timer_wheel import Timer, TimerWheel
from device_sim.topics import format_property_bag

# What one device has unacknowledged at most; later messages wait, and their latency counts from when they were due.
MAX_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class TelemetryPlan:
    """What the devices of a fleet share."""

    telemetry: Telemetry
    payloads: Payloads
    timers: TimerWheel
    properties: str

    @classmethod
    def of(
        cls, telemetry: Telemetry, payloads: Payloads, timers: TimerWheel, defaults: Mapping[str, str]
    ) -> "TelemetryPlan":
        """Make the plan; `defaults` are the properties of a scenario that names none."""
        return cls(telemetry, payloads, timers, format_property_bag(telemetry.properties or defaults))

    @property
    def interval(self) -> float | None:
        """Seconds between messages; None when each follows the acknowledgement of the one before."""
        rate = self.telemetry.messages_per_second
        return None if rate is None else 1 / rate


class TelemetryStream:
    """One device's messages over one connection after another.

    A message that was not acknowledged when a connection ended is sent again over the next; those that would have
    been due meanwhile are not made up for. `on_acknowledged` is called with the seconds from when a message was due
    and from when it was sent; `is_done` when there are no more to come.
    """

    __slots__ = (
        "_device",
        "_due",
        "_in_flight",
        "_number",
        "_on_acknowledged",
        "_plan",
        "_session",
        "_timer",
        "acknowledged",
    )

    def __init__(self, plan: TelemetryPlan, device: int, on_acknowledged: Callable[[float, float], None]) -> None:
        self._plan = plan
        self._device = device
        self._on_acknowledged = on_acknowledged
        self._session: HubSession | None = None
        self._timer: Timer | None = None
        self._due = 0.0
        self._number = 0
        self._in_flight = 0
        self.acknowledged = 0

    @property
    def is_done(self) -> bool:
        """Tell whether all messages were acknowledged."""
        return self._plan.telemetry.messages is not None and self.acknowledged >= self._plan.telemetry.messages

    def start(self, session: HubSession, after_seconds: float) -> None:
        """Send over a new connection, from so many seconds on."""
        self._session = session
        self._in_flight = 0
        self._number = self.acknowledged
        self._due = self._plan.timers.now() + after_seconds
        self._wait()

    def stop(self) -> None:
        """Send no more over this connection."""
        self._session = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _has_more(self) -> bool:
        messages = self._plan.telemetry.messages
        return self._session is not None and (messages is None or self._number < messages)

    def _wait(self) -> None:
        if self._has_more:
            self._timer = self._plan.timers.schedule_at(self._due, self._send)

    def _send(self) -> None:
        self._timer = None
        session, plan = self._session, self._plan
        if session is None:
            return
        self._number += 1
        self._in_flight += 1
        device_id = session.assignment.device_id
        topic = f"devices/{device_id}/messages/events/{plan.properties}"
        delivery = Due(self, session, self._due, plan.timers.now())
        try:
            session.mqtt.post(
                topic,
                plan.payloads.message(self._device, device_id, self._number),
                delivery.answered,
                plan.telemetry.qos,
            )
        except DeviceError:
            return  # the connection is gone, which its owner hears by itself
        interval = plan.interval
        if interval is not None:
            self._due += interval
            if self._in_flight < MAX_IN_FLIGHT:
                self._wait()

    def take_answer(self, session: HubSession, due: float, sent: float) -> None:
        """Count an acknowledgement, and send what waited for it."""
        now = self._plan.timers.now()
        self.acknowledged += 1
        self._on_acknowledged(now - due, now - sent)
        if session is not self._session:
            return
        self._in_flight -= 1
        if self._timer is None:
            if self._plan.interval is None:
                self._due = now
            self._wait()


class Due:
    """A message on its way: when it was due, and when it was sent."""

    __slots__ = ("_due", "_sent", "_session", "_stream")

    def __init__(self, stream: TelemetryStream, session: HubSession, due: float, sent: float) -> None:
        self._stream = stream
        self._session = session
        self._due = due
        self._sent = sent

    def answered(self, acknowledged: bool) -> None:  # noqa: FBT001 - what MqttClient.post calls with
        """Tell the stream; a message that was not acknowledged is sent again over the next connection."""
        if acknowledged:
            self._stream.take_answer(self._session, self._due, self._sent)
