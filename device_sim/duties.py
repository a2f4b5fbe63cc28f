"""What one device does for as long as it is connected: telemetry, twin reports, methods, cloud-to-device messages."""

from collections.abc import Callable

from device_sim.hub_services import MethodResponder, TwinReporter, receive_c2d
from device_sim.hub_session import HubSession
from device_sim.phases import Phase
from device_sim.surroundings import Surroundings
from device_sim.telemetry import TelemetryStream


class Duties:
    """The duties of one device, over one connection after another; `on_done` hears that the last message is there."""

    __slots__ = ("_connections", "_has_first_puback", "_number", "_on_done", "_reporter", "_stream", "_surroundings")

    def __init__(self, number: int, surroundings: Surroundings, on_done: Callable[[], None]) -> None:
        self._number = number
        self._surroundings = surroundings
        self._on_done = on_done
        self._stream: TelemetryStream | None = None
        if surroundings.telemetry is not None:
            self._stream = TelemetryStream(surroundings.telemetry, number, self._acknowledged)
        self._reporter: TwinReporter | None = None
        self._connections = 0
        self._has_first_puback = False

    @property
    def are_done(self) -> bool:
        """Tell whether every message was acknowledged."""
        return self._stream is None or self._stream.is_done

    async def prepare(self, session: HubSession) -> None:
        """Subscribe to what the duties need, with one SUBSCRIBE.

        Raises:
            SubscriptionRefused, ConnectionLost, RequestTimeout: it is not known whether the device is subscribed.
        """
        behaviour, recorder = self._surroundings.decisions.behaviour, self._surroundings.recorder
        filters = []
        if behaviour.answer_methods:
            filters.append(MethodResponder(session, lambda: recorder.message("method")).topic_filter)
        if behaviour.receive_c2d:
            filters.append(receive_c2d(session, lambda: recorder.message("c2d")))
        if behaviour.twin_reports_per_minute:
            self._reporter = self._make_reporter(session)
            filters.append(self._reporter.topic_filter)
        if filters:
            await session.mqtt.subscribe(filters)

    def start(self, session: HubSession) -> None:
        """Begin over a new connection."""
        decisions, connection = self._surroundings.decisions, self._connections
        self._connections += 1
        if self._stream is not None:
            self._stream.start(session, decisions.pause_before_telemetry(self._number, connection))
        if self._reporter is not None:
            self._reporter.start(decisions.pause_before_report(self._number, connection))

    def stop(self) -> None:
        """Rest until there is another connection."""
        if self._stream is not None:
            self._stream.stop()
        reporter, self._reporter = self._reporter, None
        if reporter is not None:
            reporter.stop()

    def _acknowledged(self, since_due: float, since_sent: float) -> None:
        recorder = self._surroundings.recorder
        if not self._has_first_puback:
            self._has_first_puback = True
            recorder.phase(Phase.FIRST_PUBACK, since_sent)
        recorder.message("telemetry", since_due)
        if self.are_done:
            self._on_done()

    def _make_reporter(self, session: HubSession) -> TwinReporter:
        around = self._surroundings
        interval = 60 / around.decisions.behaviour.twin_reports_per_minute
        return TwinReporter(session, around.timers, interval, around.settings.timeout_seconds, self._reported)

    def _reported(self, status: int, since_due: float) -> None:
        recorder = self._surroundings.recorder
        if 200 <= status < 300:
            recorder.message("twin", since_due)
        else:
            recorder.failed(f"twin report {status}" if status else "twin report unanswered")
