"""Runs a scenario: devices come when they are to come, do what they are to do, and leave in order."""

import asyncio
import gc
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from device_sim.behaviour import Decisions
from device_sim.credential import OnboardingCredential
from device_sim.device_faults import FaultyDevices
from device_sim.dialer import Dialer, read_trust_anchors, system_now
from device_sim.file_limit import raise_file_limit
from device_sim.fleet_device import FleetDevice
from device_sim.hub_session import JSON_UTF8, HubSession
from device_sim.key_pool import DeviceKey, FleetKeys, KeyPool
from device_sim.payload import Payloads
from device_sim.recorder import DeviceState, Recorder
from device_sim.scenario import Scenario
from device_sim.scenario_behaviour import Reconnect, Renewal, Timing
from device_sim.settings import DeviceSettings
from device_sim.surroundings import Surroundings
from device_sim.telemetry import TelemetryPlan

logger = logging.getLogger("device_sim")

STOP_WHEN_SECONDS = 0.5
LEAVE_SECONDS = 10
# Devices that begin or leave in one turn of the loop; between turns the others are heard.
DEVICES_PER_TURN = 100


class Engine:
    """A run of a fleet against one target.

    Args:
        scenario: what is to happen. With `first_device` it is one of several parts of a fleet, each in a process of
            its own, and `devices` counts those of this part.
        target: where the services are; what the scenario says about connections takes precedence.
        credentials: gives a device's onboarding credential; called again for each of its ways to DPS.
        recorder: is told all that happens.
        keys: gives the key of a device's so-manieth certificate, such as `FleetKeys.key`; None makes them on the spot.
        first_device: the number of this part's first device, counted from 0.
        now: the devices' clock, but for those whose clock is wrong.

    Raises:
        OSError: the file of trust anchors cannot be read.
        ValueError: the file of trust anchors holds no certificate.
    """

    def __init__(
        self,
        scenario: Scenario,
        target: DeviceSettings,
        credentials: Callable[[int], OnboardingCredential],
        recorder: Recorder,
        *,
        keys: Callable[[int, int], DeviceKey] | None = None,
        first_device: int = 0,
        now: Callable[[], datetime] = system_now,
    ) -> None:
        self._scenario = scenario
        self._recorder = recorder
        self._dialer = Dialer(read_trust_anchors(target.ca_file))
        self._timers = self._dialer.timers
        self._first_device = first_device
        self._decisions = Decisions.of(scenario)
        faults = FaultyDevices(scenario.device_faults, scenario.seed, self._dialer, now)
        self._surroundings = Surroundings(
            settings_of(scenario, target),
            self._decisions,
            faults,
            credentials,
            keys or _reused_keys(scenario, faults),
            recorder,
            self._timers,
            self._telemetry_plan(now),
            self._start_task,
        )
        self._devices: list[FleetDevice] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[FleetDevice, float]] = deque()
        self._under_way = self._settled = self._done = 0
        self._stopped: asyncio.Event | None = None
        self._defect: BaseException | None = None
        self._stopped_by = ""

    @property
    def stopped_by(self) -> str:
        """The condition of `stop_when` that ended the run; empty if none did."""
        return self._stopped_by

    # --- the run ---

    async def run(self) -> None:
        """Run to the end: all is done, the time is over, a condition to stop holds, or `stop` was called.

        However it ends, cancellation included, the devices leave their hubs in order first.

        Raises:
            TooManyDevices: the system lets one process have fewer connections.
        """
        raise_file_limit(self._scenario.devices)
        self._stopped = asyncio.Event()
        self._devices = [
            FleetDevice(self._first_device + number, self._surroundings, self)
            for number in range(self._scenario.devices)
        ]
        with _calm_collector():
            try:
                self._schedule_the_end()
                offsets = self._scenario.arrival.offsets(self._scenario.devices)
                self._arrive(offsets, 0, self._timers.now(), next(offsets))
                await self._stopped.wait()
            finally:
                await self._leave()
        if self._defect is not None:
            raise self._defect

    def stop(self) -> None:
        """Let the devices leave in order, and then `run` return; harmless before and after a run."""
        if self._stopped is not None:
            self._stopped.set()

    def follow_clock(self) -> None:
        """Let every device look again when to renew: the time they live by was moved."""
        self._at_this_moment(FleetDevice.follow_clock)

    def _schedule_the_end(self) -> None:
        if self._scenario.duration_seconds is not None:
            self._timers.schedule(self._scenario.duration_seconds, self.stop)
        if self._scenario.stop_when:
            self._timers.schedule(STOP_WHEN_SECONDS, self._look_whether_to_stop)

    def _look_whether_to_stop(self) -> None:
        snapshot = self._recorder.snapshot()
        held = next((str(condition) for condition in self._scenario.stop_when if condition.holds(snapshot)), None)
        if held is None:
            self._timers.schedule(STOP_WHEN_SECONDS, self._look_whether_to_stop)
            return
        self._stopped_by = held
        self.stop()

    # --- arrivals ---

    def _arrive(self, offsets: Iterator[float], number: int, start: float, offset: float) -> None:
        """Let devices begin until one is due later, or enough began in this turn."""
        for _ in range(DEVICES_PER_TURN):
            if start + offset > self._timers.now():
                break
            self._begin(self._devices[number], start + offset)
            number += 1
            if number == len(self._devices):
                return
            offset = next(offsets)
        self._timers.schedule_at(start + offset, self._arrive, offsets, number, start, offset)

    def _begin(self, device: FleetDevice, intended: float) -> None:
        limit = self._scenario.concurrency
        if limit is not None and self._under_way >= limit:
            self._waiting.append((device, intended))
            return
        self._under_way += 1
        device.begin(intended)

    def settled(self, _device: FleetDevice) -> None:
        """Hear that a device is onboarded, or has failed before it was; once for each device."""
        self._under_way -= 1
        self._settled += 1
        if self._waiting:
            self._begin(*self._waiting.popleft())
        if self._settled == len(self._devices):
            self._all_settled()

    def done(self, _device: FleetDevice) -> None:
        """Hear that a device has done all it has to, or has failed; once for each device."""
        self._done += 1
        if self._done == len(self._devices):
            self.stop()

    # --- what all devices do at one moment ---

    def _all_settled(self) -> None:
        behaviour = self._decisions.behaviour
        if behaviour.reconnect is not None and behaviour.reconnect.timing is Timing.TOGETHER:
            self._schedule_reconnects(behaviour.reconnect, 0)
        if behaviour.renewal is not None and behaviour.renewal.timing is Timing.TOGETHER:
            self._schedule_renewals(behaviour.renewal, 0)

    def _schedule_reconnects(self, pattern: Reconnect, number: int) -> None:
        delay = self._decisions.reconnect_delay(pattern, 0, number)
        if delay is not None:
            self._timers.schedule(delay, self._reconnect_all, pattern, number)

    def _reconnect_all(self, pattern: Reconnect, number: int) -> None:
        self._at_this_moment(FleetDevice.reconnect)
        self._schedule_reconnects(pattern, number + 1)

    def _schedule_renewals(self, renewal: Renewal, number: int) -> None:
        delay = self._decisions.renewal_delay(renewal, 0, number, 0)
        if delay is not None:
            self._timers.schedule(delay, self._renew_all, renewal, number)

    def _renew_all(self, renewal: Renewal, number: int) -> None:
        self._at_this_moment(FleetDevice.renew)
        self._schedule_renewals(renewal, number + 1)

    def _at_this_moment(self, act: Callable[[FleetDevice], None]) -> None:
        """Let every device act now; the wheel sees to it that the network is heard in between."""
        now = self._timers.now()
        for device in self._devices:
            self._timers.schedule_at(now, act, device)

    # --- the end ---

    async def _leave(self) -> None:
        self._timers.close()
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        sessions: list[HubSession] = []
        for number, device in enumerate(self._devices, start=1):
            session = device.leave()
            if session is not None:
                sessions.append(session)
            if number % DEVICES_PER_TURN == 0:
                await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                for session in sessions:
                    await session.mqtt.wait_closed()
        for session in sessions:
            session.mqtt.abort()
        self._timers.close()
        states = [device.state for device in self._devices]
        logger.info("%d devices left, %d of them failed", len(states), states.count(DeviceState.FAILED))

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A defect of ours: the run's figures would be worthless.
            self._defect = self._defect or task.exception()
            self.stop()

    def _telemetry_plan(self, now: Callable[[], datetime]) -> TelemetryPlan | None:
        telemetry = self._decisions.behaviour.telemetry
        if telemetry is None:
            return None
        payloads = Payloads(telemetry, now, lambda device, number: self._decisions.chance("random", device, number))
        return TelemetryPlan.of(telemetry, payloads, self._timers, JSON_UTF8)


def settings_of(scenario: Scenario, target: DeviceSettings) -> DeviceSettings:
    """Give the settings of a scenario's devices at a target."""
    connection = scenario.connection
    return replace(
        target,
        request_certificate=scenario.csr,
        key_type=scenario.key_type,
        clean_session=connection.clean_session,
        keep_alive_seconds=connection.keep_alive_seconds,
        timeout_seconds=connection.timeout_seconds,
        operation_timeout_seconds=connection.operation_timeout_seconds,
    )


def _reused_keys(scenario: Scenario, faults: FaultyDevices) -> Callable[[int, int], DeviceKey] | None:
    if not scenario.device_faults.key_reuse:
        return None
    return FleetKeys(KeyPool(scenario.key_type), scenario.devices, faults.reuses_key).key


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Keep the garbage collector from walking over thousands of devices again and again."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(250_000, 50, 100)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
