"""What the devices of a fleet share."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from device_sim.behaviour import Decisions
from device_sim.credential import OnboardingCredential
from device_sim.device_faults import FaultyDevices
from device_sim.key_pool import DeviceKey
from device_sim.recorder import Recorder
from device_sim.settings import DeviceSettings
from device_sim.telemetry import TelemetryPlan
from device_sim.timer_wheel import TimerWheel


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the devices of a fleet share; devices are counted from 0.

    `credentials` gives a device's onboarding credential, `keys` the key of its so-manieth certificate (None: made on
    the spot); `start_task` runs a coroutine until the run ends.
    """

    settings: DeviceSettings
    decisions: Decisions
    faults: FaultyDevices
    credentials: Callable[[int], OnboardingCredential]
    keys: Callable[[int, int], DeviceKey] | None
    recorder: Recorder
    timers: TimerWheel
    telemetry: TelemetryPlan | None
    start_task: Callable[[Coroutine[Any, Any, None]], None]
