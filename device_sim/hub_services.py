"""What a device does for the hub over its connection: report twin properties, answer methods, take messages."""

import json
from collections.abc import Callable

from broker.packets import Publish
from device_sim.errors import DeviceError
from device_sim.hub_session import HubSession
from device_sim.timer_wheel import Timer, TimerWheel
from device_sim.topics import (
    METHODS_FILTER,
    METHODS_PREFIX,
    TWIN_FILTER,
    TWIN_PREFIX,
    format_c2d_filter,
    format_method_response_topic,
    format_reported_topic,
    parse_method_topic,
    parse_response_topic,
)

METHOD_SUCCEEDED = 200
MAX_REPORTS_IN_FLIGHT = 16


class MethodResponder:
    """Answers every direct method with 200 and the payload it came with."""

    __slots__ = ("_on_answered", "_session")

    topic_filter = METHODS_FILTER

    def __init__(self, session: HubSession, on_answered: Callable[[], None]) -> None:
        self._session = session
        self._on_answered = on_answered
        session.mqtt.listen(METHODS_PREFIX, self._answer)

    def _answer(self, packet: Publish) -> None:
        _, request_id = parse_method_topic(packet.topic)
        self._session.mqtt.post(format_method_response_topic(METHOD_SUCCEEDED, request_id), packet.payload or b"null")
        self._on_answered()


def receive_c2d(session: HubSession, on_received: Callable[[], None]) -> str:
    """Take cloud-to-device messages, which are complete when they are acknowledged; return the filter to subscribe."""
    topic_filter = format_c2d_filter(session.assignment.device_id)
    session.mqtt.listen(topic_filter.removesuffix("#"), lambda _packet: on_received())
    return topic_filter


class TwinReporter:
    """Reports a property at an interval; `on_reported` hears the status and the seconds since the report was due.

    A report without an answer in time counts as status 0.
    """

    __slots__ = (
        "_due",
        "_interval",
        "_number",
        "_on_reported",
        "_session",
        "_timeout",
        "_timer",
        "_timers",
        "_waiting",
    )

    topic_filter = TWIN_FILTER

    def __init__(
        self,
        session: HubSession,
        timers: TimerWheel,
        interval_seconds: float,
        timeout_seconds: float,
        on_reported: Callable[[int, float], None],
    ) -> None:
        self._session = session
        self._timers = timers
        self._interval = interval_seconds
        self._timeout = timeout_seconds
        self._on_reported = on_reported
        self._due = 0.0
        self._number = 0
        self._waiting: dict[str, tuple[float, Timer]] = {}
        self._timer: Timer | None = None
        session.mqtt.listen(TWIN_PREFIX, self._take)

    def start(self, after_seconds: float) -> None:
        """Report from so many seconds on."""
        self._due = self._timers.now() + after_seconds
        self._timer = self._timers.schedule_at(self._due, self._report)

    def stop(self) -> None:
        """Report no more."""
        if self._timer is not None:
            self._timer.cancel()
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()

    def _report(self) -> None:
        self._number += 1
        request_id = str(self._number)
        body = json.dumps({"reports": self._number}).encode()
        try:
            self._session.mqtt.post(format_reported_topic(request_id), body)
        except DeviceError:
            return  # the connection is gone, which its owner hears by itself
        self._waiting[request_id] = (self._due, self._timers.schedule(self._timeout, self._expire, request_id))
        self._due += self._interval
        if len(self._waiting) < MAX_REPORTS_IN_FLIGHT:
            self._timer = self._timers.schedule_at(self._due, self._report)
        else:
            self._timer = None

    def _take(self, packet: Publish) -> None:
        topic = parse_response_topic(packet.topic, TWIN_PREFIX)
        self._over(topic.request_id, topic.status)

    def _expire(self, request_id: str) -> None:
        self._over(request_id, 0)

    def _over(self, request_id: str, status: int) -> None:
        waiting = self._waiting.pop(request_id, None)
        if waiting is None:
            return
        due, timer = waiting
        timer.cancel()
        self._on_reported(status, self._timers.now() - due)
        if self._timer is None or not self._timer.is_due:
            self._timer = self._timers.schedule_at(self._due, self._report)
