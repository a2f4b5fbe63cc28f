"""A gateway with a meter: what passes through it is counted, nothing is changed."""

import time
from collections.abc import Sequence
from datetime import datetime

from broker.gateway import Action, AnyGateway, ConnectRequest, Refusal, Session, Will
from emulator.gateway_counts import GatewayCounts, Turn
from emulator.refusal_reasons import refusal_reason


class MeteredGateway:
    """Implements `broker.gateway.Gateway` by asking the real one.

    A telemetry message pays one more call and two additions for it.

    Args:
        gateway: the real one.
        counts: where its traffic is counted.
        turn: the loop turn that all gateways share; a message that comes first in it starts it.
    """

    __slots__ = ("_counts", "_gateway", "_turn")

    def __init__(self, gateway: AnyGateway, counts: GatewayCounts, turn: Turn) -> None:
        self._gateway = gateway
        self._counts = counts
        self._turn = turn

    def connect(self, request: ConnectRequest, now: datetime) -> Session | Refusal:
        """Count who is let in, and who is refused for which reason."""
        outcome: Session | Refusal = self._gateway.connect(request, now)
        if isinstance(outcome, Refusal):
            self._counts.refused(outcome.return_code, refusal_reason(outcome.reason))
        else:
            self._counts.accepted += 1
        return outcome

    def opened(self, session: Session, now: datetime) -> list[Action]:
        """Count a connection in."""
        self._counts.connected += 1
        return self._gateway.opened(session, now)

    def may_subscribe(self, session: Session, topic_filter: str) -> bool:
        """Ask the real one."""
        return self._gateway.may_subscribe(session, topic_filter)

    def subscribed(self, session: Session, topic_filters: Sequence[tuple[str, int]], now: datetime) -> list[Action]:
        """Ask the real one."""
        return self._gateway.subscribed(session, topic_filters, now)

    def unsubscribed(self, session: Session, topic_filters: Sequence[str], now: datetime) -> list[Action]:
        """Ask the real one."""
        return self._gateway.unsubscribed(session, topic_filters, now)

    def receive(
        self, session: Session, topic: str, payload: bytes, qos: int, *, retain: bool, dup: bool, now: datetime
    ) -> list[Action]:
        """Count a message that the real one took; one that it fails on is not counted."""
        turn = self._turn
        if not turn.began:
            turn.began = time.perf_counter()
        actions = self._gateway.receive(session, topic, payload, qos, retain=retain, dup=dup, now=now)
        counts = self._counts
        if topic[0] != "$":
            counts.telemetry += 1
            counts.telemetry_bytes += len(payload)
        else:
            counts.received(topic)
        return actions

    def acknowledged(self, session: Session, token: str, now: datetime) -> list[Action]:
        """Ask the real one."""
        return self._gateway.acknowledged(session, token, now)

    def disconnected(self, session: Session, now: datetime, *, will: Will | None) -> list[Action]:
        """Count a connection out."""
        self._counts.connected -= 1
        return self._gateway.disconnected(session, now, will=will)

    def tick(self, now: datetime) -> list[Action]:
        """Ask the real one."""
        return self._gateway.tick(now)
