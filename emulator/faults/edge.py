"""Puts the wrappers around the gateways while there is something for them to do, and takes them away again."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from OpenSSL import SSL

from adr.audit import AuditKind, AuditTrail
from adr.issuance import Requester
from broker.gateway import Action, AnyGateway, Refusal
from broker.mqtt import Broker
from broker.router import Router
from broker.tls import TlsServer, refusing_context
from emulator.bootstrap import Resources
from emulator.faults.fault import FaultKind, Occurrence, Operation
from emulator.faults.gateway import FaultyGateway
from emulator.faults.issuing import FaultyRegistry
from emulator.faults.message_properties import FaultyMessages
from emulator.faults.plan import FaultPlan, Injected
from emulator.faults.quota import Quota, QuotaMode, ServiceOperation, Tier, dps_limits, hub_limits
from emulator.faults.quota_gateway import QuotaGateway
from emulator.faults.retries import RetryWatch
from emulator.faults.wire import DpsWire, HubWire, Wire

logger = logging.getLogger("emulator")

# Everything but what happens elsewhere than at a gateway.
GATEWAY_OPERATIONS: Final = tuple(each for each in Operation if each not in {Operation.HANDSHAKE, Operation.ISSUE})


@dataclass(frozen=True, slots=True)
class Layers:
    """What is wrapped around the gateways now."""

    faults: bool = False
    message_properties: bool = False
    quota: QuotaMode = QuotaMode.OFF
    tier: Tier = Tier.S1
    units: int = 1


@dataclass(slots=True)
class _Served:
    """One service: its own gateway, and what stands in its place."""

    name: str
    wire: Wire
    own: AnyGateway
    shown: AnyGateway
    quota: Quota | None = None


class Edge:
    """The edge of one emulator.

    Args:
        resources: the services.
        router: where their gateways are found.
        broker: serves them.
        listener: takes devices' connections.
        now: the emulator's clock.
    """

    def __init__(
        self, resources: Resources, router: Router, broker: Broker, listener: TlsServer, now: Callable[[], datetime]
    ) -> None:
        self._adr = resources.adr
        self._broker = broker
        self._listener = listener
        self._now = now
        self._refusing: SSL.Context | None = None
        self.plan = FaultPlan({})
        self.retries = RetryWatch(self.clock)
        self.layers = Layers()
        self._served = [
            _served(each.settings.name, DpsWire(each.device_api), router, f"{each.settings.id_scope}/registrations/")
            for each in resources.dps
        ]
        self._served += [
            _served(each.settings.name, HubWire(each.sessions), router, f"{each.settings.host_name}/")
            for each in resources.hubs
        ]

    def arrange(self, layers: Layers) -> None:
        """Wrap the gateways anew; what is off costs nothing."""
        self.layers = layers
        replacements = {}
        for served in self._served:
            wrapped = self._wrap(served)
            if wrapped is not served.shown:
                replacements[served.shown] = served.shown = wrapped
        self._broker.substitute(replacements)

    def follow_plan(self) -> None:
        """Wrap what the plan concerns, after it has changed."""
        plan = self.plan
        alert = plan.concerns(Operation.HANDSHAKE)
        self._listener.context_of_next = self._context_of_next if alert else None
        if isinstance(self._adr, FaultyRegistry):
            self._adr.tampering = self._tamper if plan.concerns(Operation.ISSUE) else None
        layers = replace(self.layers, faults=plan.concerns(*GATEWAY_OPERATIONS))
        # A gateway that is wrapped already remembers what it has begun.
        if layers != self.layers:
            self.arrange(layers)

    def quotas(self) -> list[Quota]:
        """Give the accounts of the services."""
        return [each.quota for each in self._served if each.quota is not None]

    def throttle(self, hub: str, operation: ServiceOperation, device_id: str, now: datetime) -> float:
        """Count a request to a hub's service API; give the seconds it must wait, 0 where no quota is enforced."""
        if self.layers.quota is QuotaMode.OFF:
            return 0.0
        served = next(each for each in self._served if each.name == hub and isinstance(each.wire, HubWire))
        wait = self._quota_of(served).take(operation, device_id, now)
        return wait if self.layers.quota is QuotaMode.ENFORCE else 0.0

    def reset_quotas(self) -> None:
        """Begin the accounts anew."""
        for served in self._served:
            served.quota = None

    # --- what a faulty gateway asks (emulator.faults.gateway.Surroundings) ---

    def later(self, seconds: float, actions: Sequence[Action]) -> Callable[[], None]:
        """Carry out actions after so many real seconds, unless cancelled."""
        return asyncio.get_running_loop().call_later(seconds, self._broker.perform, list(actions)).cancel

    def clock(self) -> float:
        """Tell real seconds."""
        return time.monotonic()

    def injected(self, injected: Injected) -> None:
        """Log a fault that struck, and write it into the audit trail."""
        fault, occurrence = injected.fault, injected.occurrence
        logger.info(
            "device %s: injected %s at %s (%s)",
            occurrence.device_id or "unknown",
            fault.kind,
            occurrence.operation,
            injected.name,
        )
        _record(self._adr.audit, injected)
        self._broker.outbox.touch()

    def ordered(self, service: str, device_id: str, what: str, now: datetime) -> None:
        """Log a fault that a message asked for, and write it into the audit trail."""
        logger.info("device %s: asks for %s", device_id, what)
        reason = f"{what}, asked for by a message property"
        self._adr.audit.record(AuditKind.FAULT, now, service=service, device_id=device_id, reason=reason)
        self._broker.outbox.touch()

    # --- elsewhere than at a gateway ---

    def _context_of_next(self) -> SSL.Context | None:
        injected = self.plan.decide(Occurrence(Operation.HANDSHAKE), self._now())
        if injected is None:
            return None
        self.injected(injected)
        if self._refusing is None:
            self._refusing = refusing_context()
        return self._refusing

    def _tamper(self, device_id: str, requester: Requester, now: datetime) -> FaultKind | None:
        occurrence = Occurrence(Operation.ISSUE, device_id, requester.service, requester.enrollment)
        injected = self.plan.decide(occurrence, now)
        if injected is None:
            return None
        self.injected(injected)
        return injected.fault.kind

    def _quota_of(self, served: _Served) -> Quota:
        if served.quota is None:
            is_hub = isinstance(served.wire, HubWire)
            limits = hub_limits(self.layers.tier, self.layers.units) if is_hub else dps_limits()
            served.quota = Quota(served.name, limits)
        return served.quota

    def _wrap(self, served: _Served) -> AnyGateway:
        gateway, layers = served.own, self.layers
        if layers.quota is not QuotaMode.OFF:
            enforces = layers.quota is QuotaMode.ENFORCE
            gateway = QuotaGateway(gateway, served.wire, self._quota_of(served), enforces=enforces)
        if layers.message_properties and isinstance(served.wire, HubWire):
            gateway = FaultyMessages(gateway, served.name, self)
        if layers.faults:
            gateway = FaultyGateway(
                gateway, served.name, served.wire, plan=self.plan, around=self, retries=self.retries
            )
        return gateway


def _served(name: str, wire: Wire, router: Router, user_name: str) -> _Served:
    gateway = router.find(user_name)
    assert not isinstance(gateway, Refusal), f"{name} is behind the router"
    return _Served(name, wire, gateway, gateway)


def _record(audit: AuditTrail, injected: Injected) -> None:
    occurrence = injected.occurrence
    audit.record(
        AuditKind.FAULT,
        injected.time,
        service=occurrence.service,
        device_id=occurrence.device_id,
        reason=f"{injected.fault.kind} at {occurrence.operation} by fault {injected.name}",
    )
