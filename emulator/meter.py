"""Counts what the emulator does, at its edges: gateways, router, broker and commits are wrapped; no core knows."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from broker.gateway import Action, AnyGateway, Publish, Refusal
from broker.mqtt import Broker
from broker.observer import NOBODY, ConnectionObserver
from broker.router import Router
from emulator.gateway_counts import Durations, GatewayCounts, Turn
from emulator.metered_gateway import MeteredGateway
from emulator.refusal_reasons import refusal_reason

# What a connection was for that names no hub and no DPS of ours.
NO_GATEWAY: Final = "none"
REGISTRATION_OUTCOMES: Final = ("assigned", "failed", "disabled")
# The status stands behind the operation ID, in front of anything of any length.
STATUS_WITHIN: Final = 200
_STATUS: Final = re.compile(rb'"status": ?"([a-z]+)"')
REGISTRATION_ANSWER: Final = "$dps/registrations/res/"


class Meter:
    """All counters of one emulator.

    `registrations` are those that a device was told the outcome of, by that outcome; told again, counted again.
    """

    def __init__(self) -> None:
        self.turn = Turn()
        self.commits = Durations()
        self.answers = Durations()
        self.failed_commits = 0
        self.registrations: dict[str, int] = dict.fromkeys(REGISTRATION_OUTCOMES, 0)
        self.unrouted = GatewayCounts(NO_GATEWAY)
        self._gateways: dict[str, GatewayCounts] = {}

    def gateway(self, gateway: AnyGateway, name: str, session_prefix: str) -> MeteredGateway:
        """Put a gateway behind a meter.

        Args:
            gateway: a hub's or a DPS's.
            name: what it is called in the metrics.
            session_prefix: how the keys of its sessions begin.
        """
        counts = self._gateways[session_prefix] = GatewayCounts(name)
        return MeteredGateway(gateway, counts, self.turn)

    def counts(self) -> list[GatewayCounts]:
        """Give the counts of every gateway, and of the connections for none."""
        return [*self._gateways.values(), self.unrouted]

    def commit(self, commit: Callable[[], None]) -> Callable[[], None]:
        """Time a store's commits, and how long the first message of a loop turn waited for its own."""

        def metered() -> None:
            started = time.perf_counter()
            began, self.turn.began = self.turn.began, 0.0
            try:
                commit()
            except Exception:
                self.failed_commits += 1
                raise
            ended = time.perf_counter()
            self.commits.add(ended - started)
            if began:
                self.answers.add(ended - began)

        return metered

    def sent(self, action: Publish) -> None:
        """Count a message to a device, and the outcome of a registration that it tells."""
        self._counts_of(action.session_key).sent(action.topic)
        if action.topic.startswith(REGISTRATION_ANSWER):
            self._told(action.payload)

    def _counts_of(self, session_key: str) -> GatewayCounts:
        for prefix, counts in self._gateways.items():
            if session_key.startswith(prefix):
                return counts
        return self.unrouted

    def _told(self, body: bytes) -> None:
        """Take note of the outcome in an answer of DPS; `assigning` is none yet."""
        found = _STATUS.search(body, 0, STATUS_WITHIN)
        outcome = found[1].decode() if found is not None else ""
        if outcome in self.registrations:
            self.registrations[outcome] += 1


class MeteredRouter(Router):
    """A router that counts the connections which it finds no gateway for."""

    def __init__(self, meter: Meter, scopes: dict[str, AnyGateway], hosts: dict[str, AnyGateway]) -> None:
        super().__init__(scopes, hosts)
        self._meter = meter

    def find(self, user_name: str) -> AnyGateway | Refusal:
        """Choose as `Router` does."""
        found = super().find(user_name)
        if isinstance(found, Refusal):
            self._meter.unrouted.refused(found.return_code, refusal_reason(found.reason))
        return found


class MeteredBroker(Broker):
    """A broker that counts what it sends."""

    def __init__(
        self,
        meter: Meter,
        router: Router,
        commit: Callable[[], None],
        now: Callable[[], datetime],
        *,
        observer: ConnectionObserver = NOBODY,
    ) -> None:
        super().__init__(router, meter.commit(commit), now, observer=observer)
        self._meter = meter

    def perform(self, actions: list[Action]) -> None:
        """Carry out what a gateway wants, as `Broker` does; what is for a device that is gone counts too."""
        for action in actions:
            if isinstance(action, Publish):
                self._meter.sent(action)
        super().perform(actions)
