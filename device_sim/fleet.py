"""Some devices at once, and a report of what each of them went through; `engine.py` runs thousands by a scenario."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from device_sim.certificate_store import CertificateStore, DirectoryStore, MemoryStore
from device_sim.credential import OnboardingCredential
from device_sim.device import Device
from device_sim.dialer import Dialer, read_trust_anchors, system_now
from device_sim.errors import DeviceError
from device_sim.phases import Phase
from device_sim.settings import DeviceSettings


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What each device of a fleet does after onboarding.

    `concurrency` devices are under way at a time; `messages` telemetry messages each, one after the other;
    `stay_connected` leaves the connections open until `Fleet.close`.
    """

    concurrency: int = 50
    messages: int = 1
    renew: bool = False
    stay_connected: bool = False
    body: bytes = b'{"temperature": 21.5}'


@dataclass(frozen=True, slots=True)
class FleetProgress:
    """How far a fleet is."""

    total: int
    under_way: int
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What one device went through; `failure` is the kind of its error in a few words, `detail` its message."""

    registration_id: str
    device_id: str
    hub: str
    seconds: Mapping[Phase, float]
    failure: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What a run came to."""

    devices: tuple[DeviceReport, ...]
    elapsed_seconds: float
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def succeeded(self) -> int:
        """How many devices did all that was planned."""
        return len(self.devices) - sum(self.failures.values())

    def percentile(self, phase: Phase, fraction: float) -> float | None:
        """Give the seconds that this fraction (0 to 1) of the devices needed at most for a phase (nearest rank)."""
        seconds = sorted(report.seconds[phase] for report in self.devices if phase in report.seconds)
        if not seconds:
            return None
        return seconds[max(math.ceil(fraction * len(seconds)) - 1, 0)]


def _ignore(_progress: FleetProgress) -> None:
    return


class Fleet:
    """Devices that share settings, trust and plan; `directory`, if named, gets one folder for each device."""

    def __init__(
        self,
        settings: DeviceSettings,
        credentials: Sequence[OnboardingCredential],
        plan: FleetPlan | None = None,
        *,
        directory: Path | None = None,
        now: Callable[[], datetime] = system_now,
    ) -> None:
        dialer = Dialer(read_trust_anchors(settings.ca_file))
        self._plan = plan or FleetPlan()
        self.devices = [
            Device(settings, credential, _store(directory, credential.registration_id), dialer, now=now)
            for credential in credentials
        ]
        self._under_way = 0
        self._reports: list[DeviceReport] = []
        self._failures: Counter[str] = Counter()

    async def run(self, progress: Callable[[FleetProgress], None] = _ignore) -> FleetReport:
        """Send every device on its way and return when all are through; `progress` is called for each start and end."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        devices = iter(self.devices)
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._plan.concurrency, len(self.devices))):
                workers.create_task(self._work(devices, progress))
        return FleetReport(tuple(self._reports), loop.time() - started, dict(self._failures))

    async def close(self) -> None:
        """Let every connected device leave its hub."""
        await asyncio.gather(*(device.close() for device in self.devices))

    async def _work(self, devices: Iterator[Device], progress: Callable[[FleetProgress], None]) -> None:
        for device in devices:
            self._under_way += 1
            progress(self._progress())
            report = await self._send(device)
            self._under_way -= 1
            self._reports.append(report)
            if report.failure:
                self._failures[report.failure] += 1
            progress(self._progress())

    async def _send(self, device: Device) -> DeviceReport:
        """Send one device on its way; whatever the services do to it ends in its report."""
        failure = detail = ""
        hub = device_id = ""
        try:
            session = await device.connect()
            hub, device_id = session.assignment.hub, session.assignment.device_id
            for _ in range(self._plan.messages):
                await device.send_telemetry(self._plan.body)
            if self._plan.renew:
                await device.renew()
        except DeviceError as error:
            failure, detail = error.reason, str(error)
        except OSError as error:
            failure, detail = type(error).__name__, str(error)
        if failure or not self._plan.stay_connected:
            await device.close()
        return DeviceReport(device.registration_id, device_id, hub, device.phases.seconds, failure, detail)

    def _progress(self) -> FleetProgress:
        failed = sum(self._failures.values())
        return FleetProgress(len(self.devices), self._under_way, len(self._reports) - failed, failed)


def _store(directory: Path | None, registration_id: str) -> CertificateStore:
    if directory is None:
        return MemoryStore()
    if "/" in registration_id or registration_id.startswith("."):
        raise ValueError(f"the registration ID {registration_id!r} cannot name a folder")
    return DirectoryStore(directory / registration_id)
