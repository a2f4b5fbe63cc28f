"""A gateway that holds devices to the documented limits, or only counts where they go beyond them."""

import logging
import math
from collections.abc import Sequence
from datetime import datetime

from broker.gateway import (
    Action,
    AnyGateway,
    Close,
    ConnectRequest,
    ConnectReturnCode,
    Refusal,
    Session,
    Will,
    Withhold,
)
from emulator.faults.fault import Operation
from emulator.faults.quota import MAX_WAIT_SECONDS, Metered, Quota, ServiceOperation
from emulator.faults.wire import Wire

logger = logging.getLogger("emulator")


class QuotaGateway:
    """Implements `broker.gateway.Gateway` over a real one; without `enforces` nothing changes but the accounts.

    Over a limit DPS and the hub's requests are answered 429 with retry-after, telemetry gets its PUBACK late and, when
    that would take over ten seconds, ends the connection, and a CONNECT is answered with return code 3 (assumed).
    """

    def __init__(self, inner: AnyGateway, wire: Wire, quota: Quota, *, enforces: bool) -> None:
        self._inner = inner
        self._wire = wire
        self._quota = quota
        self._enforces = enforces

    def connect(self, request: ConnectRequest, now: datetime) -> Session | Refusal:
        """Refuse a connection above the limit."""
        wait = self._quota.take(Operation.CONNECT, request.client_id, now)
        if wait and self._enforces:
            return Refusal(ConnectReturnCode.SERVER_UNAVAILABLE, f"quota: too many new connections, for {wait:.1f} s")
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
        """Ask the real gateway."""
        return self._inner.disconnected(session, now, will=will)

    def tick(self, now: datetime) -> list[Action]:
        """Ask the real gateway."""
        return self._inner.tick(now)

    def receive(
        self, session: Session, topic: str, payload: bytes, qos: int, *, retain: bool, dup: bool, now: datetime
    ) -> list[Action]:
        """Let through what is within the limits, and make the rest wait."""
        operation = self._wire.operation(topic)
        wait = self._quota.take(_metered(operation, topic), session.device_id, now) if operation is not None else 0
        throttled = wait > 0 and self._enforces
        if throttled and operation is not Operation.TELEMETRY:
            logger.info("device %s: %s throttled for %.1f s", session.device_id, operation, wait)
            return self._wire.refuse(session, topic, 429, max(math.ceil(wait), 1), now)
        if throttled and wait > MAX_WAIT_SECONDS:
            return [Close(session.key, f"quota: telemetry would wait {wait:.1f} s, over {MAX_WAIT_SECONDS:g}")]
        actions = self._inner.receive(session, topic, payload, qos, retain=retain, dup=dup, now=now)
        return [Withhold(session.key, wait), *actions] if throttled else actions


def _metered(operation: Operation, topic: str) -> Metered:
    """Tell what a device writes into its twin from what it reads."""
    is_update = operation is Operation.TWIN and topic.startswith("$iothub/twin/PATCH/")
    return ServiceOperation.TWIN_UPDATE if is_update else operation
