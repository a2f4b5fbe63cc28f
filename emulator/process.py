"""The running emulator: everything that listens, put together over the composed resources."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import resource
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from adr.store import StoreError
from broker.gateway import AnyGateway
from broker.router import Router
from broker.tls import FileRoom, TlsServer, server_context
from emulator.adr_rest.api import ArmRest
from emulator.adr_service import AdrService
from emulator.bootstrap import Resources
from emulator.clock import Clock
from emulator.clock_control import ClockControl
from emulator.config_error import ConfigError
from emulator.connection_audit import ConnectionAudit, service_names
from emulator.control import ControlFront
from emulator.faults.api import FaultApi
from emulator.faults.control import FaultControl
from emulator.faults.declared import DeclaredFaults
from emulator.faults.edge import Edge
from emulator.https import HttpsFront
from emulator.hub_rest.api import HubRest
from emulator.hub_rest.delivery import BrokerDelivery
from emulator.information import describe
from emulator.listeners import Endpoints, Listeners, PortTaken
from emulator.meter import Meter, MeteredBroker, MeteredRouter
from emulator.metrics import Metrics
from emulator.operator_api import OperatorApi
from emulator.publication import Publication
from emulator.store import SqliteStore
from emulator.upkeep import Upkeep
from emulator.uploaded_cas import UploadedCas

logger = logging.getLogger("emulator")


class Process:
    """One emulator: a broker, an HTTPS front and a control API over one store.

    Args:
        resources: what `bootstrap` composed.
        store: the store under them.
        clock: the emulator's time.
        listeners: where to listen.
        upkeep: renews what ages.
        clock_file: where the clock's state is written for others to read, None for nowhere.
        faults: what goes wrong on purpose from the start.
    """

    def __init__(
        self,
        resources: Resources,
        store: SqliteStore,
        clock: Clock,
        listeners: Listeners,
        *,
        upkeep: Upkeep,
        clock_file: Path | None = None,
        faults: DeclaredFaults | None = None,
    ) -> None:
        self._resources = resources
        self._upkeep = upkeep
        self._listeners = listeners
        self._clock = clock
        audit = resources.adr.audit
        observer = ConnectionAudit(audit, service_names(resources))
        meter = Meter()
        gateways = router(resources, meter)
        self._broker = MeteredBroker(meter, gateways, store.commit, clock.now, observer=observer)
        context = server_context(resources.server_certificates)
        room = FileRoom()
        self._mqtt = TlsServer(context, self._broker.connection, room=room)
        delivery = BrokerDelivery(self._broker)
        edge = Edge(resources, gateways, self._broker, self._mqtt, clock.now)
        hub_rest = HubRest(resources.hubs, delivery, clock.now, edge.throttle)
        adr_rest = ArmRest(AdrService(resources.adr, resources.hubs, resources.dps), store, delivery, clock.now)
        publication = Publication(resources.adr, clock.now, delivery.committed)
        self._https = HttpsFront(context, self._broker.connection, [hub_rest.serve, adr_rest.serve], room=room)
        self._clock_control = ClockControl(clock, store, audit, follow=self.follow, file=clock_file)
        operator = OperatorApi(
            self._clock_control,
            audit,
            UploadedCas(resources),
            commit=store.commit,
            now=clock.now,
            warnings=upkeep.warnings,
        )
        metrics = Metrics(meter, audit, store.size_bytes, clock.now)
        faulty = FaultControl(edge)
        faulty.declare(faults or DeclaredFaults())
        apis = (operator, metrics, publication, adr_rest, FaultApi(faulty))
        routes = [route for api in apis for route in api.routes()]
        self._control = ControlFront(self.health, self.information, resources, hub_rest, routes)
        self._endpoints: Endpoints | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self) -> Endpoints:
        """Listen.

        Raises:
            PortTaken: a port cannot be bound; nothing is left listening.
        """
        _prepare_process()
        self._clock_control.export()
        try:
            await self._broker.start()
            endpoints = Endpoints(
                pid=os.getpid(),
                mqtt_port=await self._listen(self._mqtt, "MQTT", self._listeners.mqtt_port, "--mqtt-port"),
                https_port=await self._listen_https(),
                control_port=await self._listen_control(),
            )
        except BaseException:
            await self.stop()
            raise
        self._endpoints = endpoints
        self._housekeeping = asyncio.create_task(self._sweep())
        # What was loaded so far stays: a full collection over many sessions would stop the world without it.
        gc.collect()
        gc.freeze()
        return endpoints

    async def stop(self) -> None:
        """Close every connection and stop listening; what was acknowledged is stored."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)
        await self._mqtt.close()
        if self._broker.transitions.state == "started":
            await self._broker.shutdown()
        await self._https.close()
        await self._control.close()

    def follow(self, now: datetime) -> None:
        """Do at once what a changed clock asks for: renew what has aged, end what has expired, meet deadlines."""
        self._keep_up(now)
        self._broker.sweep()

    def health(self) -> Mapping[str, Any]:
        """What `GET /health` says."""
        return {
            "status": "ready" if self._endpoints is not None else "starting",
            "connectedDevices": self._broker.connected,
            "now": self._clock.now().isoformat(),
        }

    def information(self) -> Mapping[str, Any]:
        """What `GET /info` says: how to connect."""
        assert self._endpoints is not None
        return describe(self._resources, self._endpoints)

    async def _listen(self, server: TlsServer, what: str, port: int, option: str) -> int:
        bound = port
        for address in self._listeners.addresses:
            try:
                bound = await server.listen([address], bound)
            except OSError as error:
                if _address_missing(error, address):
                    logger.info("%s is not an address of this machine: not listening there", address)
                    continue
                raise PortTaken(error, what, address, port, option) from error
        return bound

    async def _listen_https(self) -> int:
        asked, fallback = self._listeners.https_port, self._listeners.https_fallback_port
        try:
            return await self._listen(self._https.tls, "HTTPS", asked, "--https-port")
        except PortTaken as error:
            if fallback is None:
                raise
            logger.warning("%s; using %d instead", error.why, fallback)
            await self._https.tls.close()
            return await self._listen(self._https.tls, "HTTPS", fallback, "--https-port")

    async def _listen_control(self) -> int:
        port = self._listeners.control_port
        try:
            return await self._control.listen("127.0.0.1", port)
        except OSError as error:
            raise PortTaken(error, "control", "127.0.0.1", port, "--control-port") from error

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._mqtt.sweep()
            self._https.tls.sweep()
            self._keep_up(self._clock.now())

    def _keep_up(self, now: datetime) -> None:
        """Renew what ages; trouble with it must not end the process."""
        try:
            is_server_renewed = self._upkeep.run(now)
        except (ConfigError, OSError, StoreError):
            logger.exception("what ages could not be renewed; tried again within the hour")
            return
        if is_server_renewed:
            self._mqtt.context = self._https.tls.context = server_context(self._resources.server_certificates)


def router(resources: Resources, meter: Meter) -> Router:
    """Put every DPS instance and hub behind the front door, each behind a meter."""
    scopes: dict[str, AnyGateway] = {}
    for service in resources.dps:
        id_scope = service.settings.id_scope
        scopes[id_scope] = meter.gateway(service.gateway, service.settings.name, f"dps/{id_scope}/")
    hosts: dict[str, AnyGateway] = {}
    for hub in resources.hubs:
        metered = meter.gateway(hub.gateway, hub.settings.name, f"{hub.settings.name}/")
        for name in (hub.settings.host_name, *hub.settings.aliases):
            hosts[name] = metered
    return MeteredRouter(meter, scopes, hosts)


def _address_missing(error: OSError, address: str) -> bool:
    """IPv6 may be switched off; that is no reason not to start."""
    return ":" in address and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _prepare_process() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.set_threshold(50_000, 50, 100)
