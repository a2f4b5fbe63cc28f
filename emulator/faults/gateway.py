"""A gateway to which things go wrong: replaces, delays, drops and doubles what the real one answers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

from broker.gateway import (
    Action,
    AnyGateway,
    Close,
    ConnectRequest,
    ConnectReturnCode,
    Drop,
    Publish,
    Refusal,
    Session,
    Silence,
    Unanswered,
    Will,
    Withhold,
)
from emulator.faults.fault import ANSWERED, Fault, FaultKind, Occurrence, Operation, Phase
from emulator.faults.plan import FaultPlan, Injected
from emulator.faults.retries import RetryWatch
from emulator.faults.wire import DpsWire, Wire

logger = logging.getLogger("emulator")

Cancel = Callable[[], None]
# How many registrations may be held up at once.
MAX_SLOW: Final = 100_000


class Surroundings(Protocol):
    """What a faulty gateway needs of the process around it."""

    def later(self, seconds: float, actions: Sequence[Action]) -> Cancel:
        """Carry out actions after so many real seconds, unless cancelled."""
        ...

    def clock(self) -> float:
        """Tell real seconds."""
        ...

    def injected(self, injected: Injected) -> None:
        """Hear of a fault that struck."""
        ...

    def ordered(self, service: str, device_id: str, what: str, now: datetime) -> None:
        """Hear of a fault that a device itself asked for."""
        ...


@dataclass(frozen=True, slots=True)
class _Request:
    """One publish that a fault strikes, and how to have the real gateway take it."""

    session: Session
    topic: str
    operation: Operation
    fault: Fault
    now: datetime
    serve: Callable[[], list[Action]]

    def split(self) -> tuple[list[Action], list[Action]]:
        """Have it served, and tell apart what goes to the device itself and what goes to others."""
        actions = self.serve()
        own = [each for each in actions if each.session_key == self.session.key]
        return own, [each for each in actions if each.session_key != self.session.key]


class FaultyGateway:
    """Implements `broker.gateway.Gateway` over a real one.

    Args:
        inner: the real one.
        service: its name, for the scope of faults and for logs.
        wire: its topics.
        plan: decides what goes wrong.
        around: the process.
        retries: watches whether devices come again as told.
    """

    def __init__(
        self,
        inner: AnyGateway,
        service: str,
        wire: Wire,
        *,
        plan: FaultPlan,
        around: Surroundings,
        retries: RetryWatch,
    ) -> None:
        self._inner = inner
        self._service = service
        self._wire = wire
        self._plan = plan
        self._around = around
        self._retries = retries
        self._at_open: dict[str, Fault] = {}
        self._slow_until: dict[str, float] = {}
        self._deferred: dict[str, list[Cancel]] = {}

    # --- connections ---

    def connect(self, request: ConnectRequest, now: datetime) -> Session | Refusal:
        """Refuse or cut the connection, or let the real gateway decide and remember what is to happen then."""
        device_id = request.client_id.partition("/")[0]
        fault = self._decide(Operation.CONNECT, device_id, now)
        if fault is None:
            outcome: Session | Refusal = self._inner.connect(request, now)
            return outcome
        reason = f"injected fault: {fault.kind}"
        if fault.kind in {FaultKind.THROTTLED, FaultKind.SERVER_ERROR}:
            return Refusal(ConnectReturnCode.SERVER_UNAVAILABLE, reason)
        if fault.kind is FaultKind.CUT and fault.phase is Phase.BEFORE:
            return Unanswered(ConnectReturnCode.SERVER_UNAVAILABLE, reason)
        session: Session | Refusal = self._inner.connect(request, now)
        if not isinstance(session, Refusal):
            self._at_open[session.key] = fault
        return session

    def opened(self, session: Session, now: datetime) -> list[Action]:
        """Let happen to CONNACK what was decided at CONNECT."""
        actions = self._inner.opened(session, now)
        fault = self._at_open.pop(session.key, None) if self._at_open else None
        return [*actions, *_acknowledgement(fault, session.key)] if fault is not None else actions

    def may_subscribe(self, session: Session, topic_filter: str) -> bool:
        """Ask the real gateway."""
        return self._inner.may_subscribe(session, topic_filter)

    def subscribed(self, session: Session, topic_filters: Sequence[tuple[str, int]], now: datetime) -> list[Action]:
        """Let happen to SUBACK what is decided now."""
        fault = self._decide(Operation.SUBSCRIBE, session.device_id, now)
        if fault is not None and fault.phase is Phase.BEFORE and fault.kind in {FaultKind.CUT, FaultKind.SILENCE}:
            return _acknowledgement(fault, session.key)
        actions = self._inner.subscribed(session, topic_filters, now)
        return [*actions, *_acknowledgement(fault, session.key)] if fault is not None else actions

    def unsubscribed(self, session: Session, topic_filters: Sequence[str], now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.unsubscribed(session, topic_filters, now)

    def acknowledged(self, session: Session, token: str, now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.acknowledged(session, token, now)

    def disconnected(self, session: Session, now: datetime, *, will: Will | None) -> list[Action]:
        """Give up what was still to happen to this connection."""
        self._at_open.pop(session.key, None)
        for cancel in self._deferred.pop(session.key, ()):
            cancel()
        return self._inner.disconnected(session, now, will=will)

    def tick(self, now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.tick(now)

    # --- requests ---

    def receive(
        self, session: Session, topic: str, payload: bytes, qos: int, *, retain: bool, dup: bool, now: datetime
    ) -> list[Action]:
        """Have the real gateway answer, unless something goes wrong before or after."""

        operation = self._wire.operation(topic)

        def serve() -> list[Action]:
            held = self._held(session, topic, operation, now)
            if held is not None:
                return held
            return self._inner.receive(session, topic, payload, qos, retain=retain, dup=dup, now=now)

        if operation is None:
            return serve()
        if operation in ANSWERED:
            self._came(session)
        fault = self._decide_on(self._occurrence(operation, session, payload, now), now)
        if fault is None:
            return serve()
        return _STRIKES[fault.kind](self, _Request(session, topic, operation, fault, now, serve))

    def _came(self, session: Session) -> None:
        late = self._retries.come(self._service, session.device_id)
        if late is not None and late < 0:
            logger.warning(
                "device %s: asks %s again %.2f s before it was told to", session.device_id, self._service, -late
            )

    def _held(self, session: Session, topic: str, operation: Operation | None, now: datetime) -> list[Action] | None:
        """Answer a poll for an operation that an earlier fault began or holds up."""
        if operation is not Operation.POLL or not isinstance(self._wire, DpsWire):
            return None
        until = self._slow_until.get(session.device_id)
        if until is not None:
            if self._around.clock() < until:
                return self._wire.still_assigning(session, topic, 1)
            del self._slow_until[session.device_id]
        return self._wire.pretend(session, topic, now)

    def _occurrence(self, operation: Operation, session: Session, payload: bytes, now: datetime) -> Occurrence:
        """Say what happens; what costs an attestation only if a fault depends on it."""
        is_dps = operation in {Operation.REGISTER, Operation.POLL}
        enrollment = self._wire.enrollment(session, now) if is_dps and self._plan.asks_for_enrollment else ""
        is_asked = operation is Operation.REGISTER and self._plan.asks_for_hub
        hub = self._wire.hub_for(session, payload, now) if is_asked else ""
        return Occurrence(operation, session.device_id, self._service, enrollment, hub)

    def _decide(self, operation: Operation, device_id: str, now: datetime) -> Fault | None:
        return self._decide_on(Occurrence(operation, device_id, self._service), now)

    def _decide_on(self, occurrence: Occurrence, now: datetime) -> Fault | None:
        injected = self._plan.decide(occurrence, now)
        if injected is None:
            return None
        self._around.injected(injected)
        return injected.fault

    def _defer(self, session: Session, seconds: float, actions: Sequence[Action]) -> None:
        if actions:
            self._deferred.setdefault(session.key, []).append(self._around.later(seconds, actions))

    def _refuse(self, request: _Request, status: int) -> list[Action]:
        fault = request.fault
        answer = self._wire.refuse(request.session, request.topic, status, fault.retry_after_seconds, request.now)
        if answer:
            self._retries.tell(self._service, request.session.device_id, fault.retry_after_seconds)
        return answer

    # --- the kinds ---

    def _throttle(self, request: _Request) -> list[Action]:
        if request.operation is not Operation.TELEMETRY:
            return self._refuse(request, 429)
        # MQTT has no answer that says no: the PUBACK stays away, then the connection ends. Source: azure-docs#107838.
        key = request.session.key
        self._defer(request.session, request.fault.seconds, [Close(key, "injected fault: throttled")])
        return [Withhold(key)]

    def _fail(self, request: _Request) -> list[Action]:
        others = request.split()[1] if request.fault.phase is Phase.AFTER else []
        return [*self._refuse(request, request.fault.status), *others]

    def _drop_acknowledgement(self, request: _Request) -> list[Action]:
        return [Withhold(request.session.key), *request.serve()]

    def _break(self, request: _Request) -> list[Action]:
        """Cut the connection or let it go silent; what the real gateway wants of others happens all the same."""
        others = request.split()[1] if request.fault.phase is Phase.AFTER else []
        return [*_acknowledgement(request.fault, request.session.key), *others]

    def _accept_for_ever(self, request: _Request) -> list[Action]:
        return self._wire.accept_for_ever(request.session, request.topic, request.now)

    def _delay(self, request: _Request) -> list[Action]:
        own, others = request.split()
        seconds = request.fault.seconds
        if request.operation in ANSWERED:
            self._defer(request.session, seconds, own)
            return others
        return [Withhold(request.session.key, seconds), *own, *others]

    def _duplicate(self, request: _Request) -> list[Action]:
        own, others = request.split()
        return [*own, *(each for each in own if isinstance(each, Publish)), *others]

    def _slow_down_ca(self, request: _Request) -> list[Action]:
        own, others = request.split()
        if request.operation is Operation.REGISTER:
            if len(self._slow_until) >= MAX_SLOW:
                del self._slow_until[next(iter(self._slow_until))]
            self._slow_until[request.session.device_id] = self._around.clock() + request.fault.seconds
            return [*own, *others]
        accepted = [each for each in own if isinstance(each, Publish) and "/res/202/" in each.topic]
        self._defer(request.session, request.fault.seconds, [each for each in own if each not in accepted])
        return [*accepted, *others]

    def _miss_hub(self, request: _Request) -> list[Action]:
        assert isinstance(self._wire, DpsWire), "only DPS has registrations"
        return self._wire.accept_without_hub(request.session, request.topic, request.now)


def _acknowledgement(fault: Fault, session_key: str) -> list[Action]:
    """Say what happens to a connection in the place of an acknowledgement."""
    reason = f"injected fault: {fault.kind}"
    match fault.kind:
        case FaultKind.CUT:
            return [Drop(session_key, reason)]
        case FaultKind.SILENCE:
            return [Silence(session_key, reason)]
        case FaultKind.DELAYED:
            return [Withhold(session_key, fault.seconds)]
        case _:
            return [Withhold(session_key)]


_Strike = Callable[[FaultyGateway, _Request], list[Action]]
_G, _K = FaultyGateway, FaultKind
_STRIKES: Mapping[FaultKind, _Strike] = MappingProxyType(
    {
        _K.THROTTLED: _G._throttle,  # noqa: SLF001 - this class's own table
        _K.SERVER_ERROR: _G._fail,  # noqa: SLF001
        _K.DROPPED_ACKNOWLEDGEMENT: _G._drop_acknowledgement,  # noqa: SLF001
        _K.NEVER_COMPLETES: _G._accept_for_ever,  # noqa: SLF001
        _K.DELAYED: _G._delay,  # noqa: SLF001
        _K.DUPLICATED: _G._duplicate,  # noqa: SLF001
        _K.CUT: _G._break,  # noqa: SLF001
        _K.SILENCE: _G._break,  # noqa: SLF001
        _K.SLOW_CA: _G._slow_down_ca,  # noqa: SLF001
        _K.HUB_UNAVAILABLE: _G._miss_hub,  # noqa: SLF001
    }
)
