"""One device of a fleet: a task while it is on its way to the hub, and nothing but timers once it is there."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from certs.keys import PrivateKey
from device_sim.certificate_store import CertificateStore
from device_sim.compact_store import CompactStore
from device_sim.credential import ClientCertificate
from device_sim.device import Device
from device_sim.device_faults import PowerLost
from device_sim.duties import Duties
from device_sim.errors import ConnectionRefused, DeviceError, ProvisioningError
from device_sim.hub_session import HubSession
from device_sim.key_pool import DeviceKey
from device_sim.phases import Phase, Phases
from device_sim.recorder import DeviceState
from device_sim.registration import Assignment
from device_sim.scenario_behaviour import Timing
from device_sim.surroundings import Surroundings
from device_sim.timer_wheel import Timer

# When a device that should act is on its way to the hub.
LOOK_AGAIN_SECONDS = 1


class Owner(Protocol):
    """Who wants to know how the devices of a fleet fare."""

    def settled(self, device: "FleetDevice") -> None:
        """Hear that a device is onboarded, or has failed before it was; once for each device."""
        ...

    def done(self, device: "FleetDevice") -> None:
        """Hear that a device has done all it has to, or has failed; once for each device."""
        ...


class FleetDevice:
    """The life of one device; `begin` sets it on its way, `leave` ends it, the rest happens by itself."""

    __slots__ = (
        "_attempt",
        "_connections",
        "_duties",
        "_failures",
        "_generation",
        "_intended",
        "_is_done",
        "_is_renewing",
        "_is_settled",
        "_key",
        "_owner",
        "_reconnects",
        "_renewals",
        "_retry",
        "_session",
        "_store",
        "_surroundings",
        "_timers",
        "number",
        "state",
    )

    def __init__(self, number: int, surroundings: Surroundings, owner: Owner) -> None:
        self.number = number
        self.state = DeviceState.WAITING
        self._surroundings = surroundings
        self._owner = owner
        self._store: CertificateStore = surroundings.faults.store(number, CompactStore())
        self._session: HubSession | None = None
        self._duties = Duties(number, surroundings, self._look_whether_done)
        self._key: DeviceKey | None = None
        self._retry: Timer | None = None
        self._timers: dict[str, Timer] | None = None
        self._intended = 0.0
        self._attempt = self._failures = self._generation = 0
        self._connections = self._reconnects = self._renewals = 0
        self._is_settled = self._is_done = self._is_renewing = False
        surroundings.recorder.moved(None, self.state)

    # --- from outside ---

    def begin(self, intended: float) -> None:
        """Go to the hub, by DPS if it has to; latencies count from `intended`, a moment of the timers' clock."""
        self._intended = intended
        self._set_out(via_dps=False)

    def reconnect(self) -> None:
        """Leave the hub and come back, as the scenario has it; for a device that is away already it is over."""
        pattern = self._surroundings.decisions.reconnects(self.number)
        if pattern is None or self._is_done:
            return
        if self._is_renewing:
            self._schedule("reconnect late", LOOK_AGAIN_SECONDS, self.reconnect)
            return
        number, self._reconnects = self._reconnects, self._reconnects + 1
        if self._session is None:
            return
        self._disconnect(abrupt=pattern.abrupt)
        self._move(DeviceState.RECONNECTING)
        offline = self._surroundings.decisions.offline_seconds(pattern, self.number, number)
        self._intended = self._surroundings.timers.now() + offline
        self._retry = self._surroundings.timers.schedule(offline, lambda: self._set_out(via_dps=pattern.via_dps))

    def renew(self) -> None:
        """Renew the certificate, as soon as the device is connected."""
        if not self._is_done:
            self._renew_again(self._surroundings.timers.now(), 1)

    def leave(self) -> HubSession | None:
        """Give everything up and disconnect; the session is given that is about to close, if there was one."""
        for timer in (self._retry, *(self._timers or {}).values()):
            if timer is not None:
                timer.cancel()
        session = self._session
        if session is not None:
            self._disconnect(abrupt=False)
            self._move(DeviceState.FINISHED)
        return session

    # --- the way to the hub ---

    def _set_out(self, *, via_dps: bool) -> None:
        self._retry = None
        self._surroundings.start_task(self._go(via_dps=via_dps))

    async def _go(self, *, via_dps: bool) -> None:
        device = self._device()
        try:
            session = await self._connect(device, via_dps=via_dps)
        except DeviceError as error:
            self._failed(error.reason, device.phases.current, retry_after_of(error))
        except OSError as error:
            self._failed(type(error).__name__, device.phases.current, 0)
        else:
            self._arrived(session, device)

    async def _connect(self, device: Device, *, via_dps: bool) -> HubSession:
        recorder = self._surroundings.recorder
        # What the certificate is is looked up in any case: a device that goes to DPS again knows it too.
        assignment = device.recall()
        if assignment is not None and not via_dps:
            self._approach(DeviceState.CONNECTING)
            try:
                return await self._open(device, assignment)
            except ConnectionRefused as error:
                recorder.failed(error.reason, device.phases.current)
        self._approach(DeviceState.PROVISIONING)
        onboarded = await device.onboard()
        self._prepare(device.certificate)
        recorder.total("registration", self._surroundings.timers.now() - self._intended)
        pause = self._surroundings.decisions.pause_before_connect(self.number)
        if pause:
            await asyncio.sleep(pause)
        self._approach(DeviceState.CONNECTING)
        return await self._open(device, onboarded.assignment)

    async def _open(self, device: Device, assignment: Assignment) -> HubSession:
        session = await device.open(assignment)
        try:
            await self._duties.prepare(session)
        except BaseException:
            session.mqtt.abort()
            raise
        return session

    def _arrived(self, session: HubSession, device: Device) -> None:
        if not session.mqtt.is_connected:
            self._failed("ConnectionLost", Phase.HUB_CONNACK, 0)
            return
        recorder, now = self._surroundings.recorder, self._surroundings.timers.now()
        self._session = session
        self._attempt = 0
        self._connections += 1
        session.mqtt.on_lost = self._lost
        self._move(DeviceState.CONNECTED)
        if not self._is_settled:
            recorder.total("onboarding", now - self._intended)
        self._duties.start(session)
        if not self._is_settled:
            self._is_settled = True
            self._schedule_renewal(device)
            self._schedule_reconnect()
            self._owner.settled(self)
        self._look_whether_done()

    def _device(self) -> Device:
        around, number = self._surroundings, self.number
        return Device(
            around.settings,
            around.credentials(number),
            self._store,
            around.faults.dialer(number),
            now=around.faults.clock(number),
            phases=Phases(around.recorder.phase),
            make_key=self._make_key if around.keys is not None else None,
            request=self._request,
            on_throttled=self._throttled,
        )

    def _make_key(self) -> PrivateKey:
        assert self._surroundings.keys is not None, "only asked if there are keys"
        generation, self._generation = self._generation, self._generation + 1
        self._key = self._surroundings.keys(self.number, generation)
        return self._key.private

    def _request(self, common_name: str, key: PrivateKey) -> str:
        """Give the CSR for a key, as it was signed before the run if it was."""
        made = self._key
        if made is None or made.private is not key:
            made = DeviceKey(key)
        return made.request(common_name)

    def _prepare(self, certificate: ClientCertificate | None) -> None:
        """Let TLS have the key in the form that was made before the run."""
        key, self._key = self._key, None
        if key is not None and key.tls is not None and certificate is not None and certificate.key is key.private:
            certificate.prepare(key.tls)

    def _throttled(self, refusal: ProvisioningError) -> None:
        self._surroundings.recorder.failed(f"throttled {refusal.error_code}", Phase.REGISTER)

    # --- what goes wrong ---

    def _failed(self, reason: str, phase: Phase | None, retry_after_seconds: float) -> None:
        around = self._surroundings
        around.recorder.failed(reason, phase)
        self._attempt += 1
        self._failures += 1
        delay = around.decisions.retry_delay(self.number, self._attempt, self._failures, retry_after_seconds)
        if delay is None:
            self._give_up()
            return
        if self.state is not DeviceState.WAITING:
            self._move(DeviceState.RECONNECTING if self._connections else DeviceState.WAITING)
        self._retry = around.timers.schedule(delay, lambda: self._set_out(via_dps=False))

    def _give_up(self) -> None:
        self._move(DeviceState.FAILED)
        if not self._is_settled:
            self._is_settled = True
            self._owner.settled(self)
        self._finish()

    def _lost(self) -> None:
        """Hear that the connection has ended, though the device did not end it."""
        self._duties.stop()
        self._session = None
        self._intended = self._surroundings.timers.now()
        self._failed("ConnectionLost", None, 0)

    # --- coming back, renewing ---

    def _disconnect(self, *, abrupt: bool) -> None:
        self._duties.stop()
        session, self._session = self._session, None
        if session is None:
            return
        session.mqtt.on_lost = None
        if abrupt:
            session.mqtt.abort("left without a word")
        else:
            session.mqtt.leave()

    def _schedule(self, what: str, delay: float, action: Callable[[], None]) -> None:
        if self._timers is None:
            self._timers = {}
        self._timers[what] = self._surroundings.timers.schedule(delay, action)

    def _schedule_reconnect(self) -> None:
        decisions = self._surroundings.decisions
        pattern = decisions.reconnects(self.number)
        if pattern is None or pattern.timing is Timing.TOGETHER:
            return
        delay = decisions.reconnect_delay(pattern, self.number, self._reconnects)
        if delay is not None:
            self._schedule("reconnect", delay, self._reconnect_and_again)

    def _reconnect_and_again(self) -> None:
        if self._session is None or self._is_renewing:
            # On its way already, or busy: it leaves again once it can.
            self._schedule("reconnect", LOOK_AGAIN_SECONDS, self._reconnect_and_again)
            return
        self.reconnect()
        self._schedule_reconnect()

    def _schedule_renewal(self, device: Device) -> None:
        decisions = self._surroundings.decisions
        renewal = decisions.behaviour.renewal
        if renewal is None or renewal.timing is Timing.TOGETHER or device.certificate is None:
            return
        delay = decisions.renewal_delay(renewal, self.number, self._renewals, device.seconds_until(renewal.fraction))
        if delay is not None:
            self._schedule("renewal", delay, self.renew)

    def follow_clock(self) -> None:
        """Look again when to renew, if that goes by the certificate: the devices' time was moved."""
        renewal = self._surroundings.decisions.behaviour.renewal
        timer = (self._timers or {}).get("renewal")
        if renewal is None or timer is None or self._is_renewing or self._is_done:
            return
        if renewal.every_seconds is not None or renewal.after_seconds is not None:
            return
        timer.cancel()
        device = self._device()
        device.certificate = self._store.load().certificate
        self._schedule_renewal(device)

    async def _renew(self, session: HubSession, intended: float, attempt: int) -> None:
        around = self._surroundings
        device = self._device()
        device.session = session
        self._is_renewing = True
        try:
            await device.renew()
        except (DeviceError, OSError) as error:
            reason = error.reason if isinstance(error, DeviceError) else type(error).__name__
            around.recorder.failed(reason, Phase.RENEWAL)
            self._failures += 1
            if isinstance(error, PowerLost) and self._session is session:
                self._come_back(abrupt=True)
            delay = around.decisions.retry_delay(self.number, attempt, self._failures, retry_after_of(error))
            if delay is not None:
                self._schedule("renewal", delay, lambda: self._renew_again(intended, attempt + 1))
            else:
                self._renewed(device)
            return
        finally:
            self._is_renewing = False
            self._key = None
        around.recorder.total("renewal", around.timers.now() - intended)
        renewal = around.decisions.behaviour.renewal
        if renewal is not None and renewal.reconnect and self._session is session:
            self._come_back(abrupt=False)
        self._renewed(device)

    def _come_back(self, *, abrupt: bool) -> None:
        self._disconnect(abrupt=abrupt)
        self._move(DeviceState.RECONNECTING)
        self._intended = self._surroundings.timers.now()
        self._set_out(via_dps=False)

    def _renew_again(self, intended: float, attempt: int) -> None:
        if self._session is None:
            self._schedule("renewal", LOOK_AGAIN_SECONDS, lambda: self._renew_again(intended, attempt))
        else:
            self._surroundings.start_task(self._renew(self._session, intended, attempt))

    def _renewed(self, device: Device) -> None:
        self._renewals += 1
        self._schedule_renewal(device)
        if self._session is not None:
            self._look_whether_done()

    # --- the end ---

    def _look_whether_done(self) -> None:
        around = self._surroundings
        if self._is_done or around.decisions.is_open_ended or self._session is None:
            return
        if not self._duties.are_done:
            return
        if self._renewals == 0 and around.decisions.behaviour.renewal is not None:
            return
        pattern = around.decisions.reconnects(self.number)
        if pattern is not None and (pattern.times is None or self._reconnects < pattern.times):
            return
        self._finish()
        if around.decisions.behaviour.leave_when_done:
            self.leave()

    def _finish(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._owner.done(self)

    def _approach(self, state: DeviceState) -> None:
        """Move to a state of the first way; a device that was there before is reconnecting all the time."""
        self._move(DeviceState.RECONNECTING if self._connections else state)

    def _move(self, state: DeviceState) -> None:
        if state is not self.state:
            self._surroundings.recorder.moved(self.state, state)
            self.state = state


def retry_after_of(error: Exception) -> float:
    """Give the seconds that a service asked for, 0 if it did not."""
    return float(getattr(error, "retry_after_seconds", 0) or 0)
