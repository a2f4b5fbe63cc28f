"""The DPS flow over a connection: connect, subscribe, register, wait as told, ask, until the device is assigned."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from broker.packets import Connect
from device_sim.chance import fraction
from device_sim.credential import ClientCertificate, OnboardingCredential, SymmetricKey
from device_sim.dialer import Dialer
from device_sim.errors import ProvisioningError, RequestTimeout
from device_sim.inbox import Inbox
from device_sim.mqtt import MqttClient
from device_sim.phases import Phase, Phases
from device_sim.registration import Ask, Registration, RegistrationResult, RegistrationState
from device_sim.sas import format_dps_token
from device_sim.settings import DeviceSettings
from device_sim.topics import DPS_FILTER, DPS_PREFIX, format_dps_user_name

# A device that is told to come again later waits for up to so much longer, as a part of what it was told.
RETRY_AFTER_JITTER = 0.5


def ignore_throttling(_refusal: ProvisioningError) -> None:
    """Come again later, as DPS said, and say nothing."""


@dataclass(frozen=True, slots=True)
class ProvisioningClient:
    """Registers devices at one DPS; `now` is the devices' clock, for the lifetime of tokens.

    `on_throttled` hears of every answer that tells a device to come again later.
    """

    settings: DeviceSettings
    dialer: Dialer
    now: Callable[[], datetime]
    phases: Phases = field(default_factory=Phases)
    on_throttled: Callable[[ProvisioningError], None] = ignore_throttling

    async def register(
        self, credential: OnboardingCredential, *, csr: str = "", payload: dict[str, Any] | None = None
    ) -> RegistrationResult:
        """Register one device and wait until it is assigned.

        Args:
            credential: what DPS is to recognise the device by.
            csr: base64 DER PKCS#10, or empty for no certificate.
            payload: passed to a custom allocation webhook.

        Raises:
            ProvisioningError: DPS refused, or the registration ended as failed or disabled.
            DeviceError: DPS could not be reached, is not trusted, refused the connection or answered nonsense.
            RequestTimeout: it took longer than `operation_timeout_seconds`.
        """
        registration = Registration(credential.registration_id, csr=csr, payload=payload)
        limit = self.settings.operation_timeout_seconds
        try:
            with self.dialer.timers.limit(limit):
                result = await self._register(registration, credential)
                # The connection ends in the loop's next turn: what follows can have its memory.
                await asyncio.sleep(0)
                return result
        except TimeoutError:
            name = credential.registration_id
            raise RequestTimeout(f"{self.settings.dps_host}: {name} was not assigned within {limit:g} s") from None

    async def _register(self, registration: Registration, credential: OnboardingCredential) -> RegistrationResult:
        client = await self._connect(credential)
        try:
            inbox = Inbox(client, DPS_PREFIX)
            with self.phases.measure(Phase.DPS_SUBACK):
                await client.subscribe([DPS_FILTER])
            with self.phases.measure(Phase.REGISTER):
                step = await self._exchange(client, inbox, registration, Ask(0, registration.start()))
                while registration.state is RegistrationState.REGISTERING and isinstance(step, Ask):
                    step = await self._exchange(client, inbox, registration, step)
            with self.phases.measure(Phase.POLLS):
                while isinstance(step, Ask):
                    step = await self._exchange(client, inbox, registration, step)
            return step
        finally:
            client.leave()

    async def _exchange(
        self, client: MqttClient, inbox: Inbox, registration: Registration, ask: Ask
    ) -> Ask | RegistrationResult:
        """Send a request when its time has come, and give the step that its answer leads to."""
        if ask.after_seconds:
            await asyncio.sleep(ask.after_seconds if ask.refusal is None else _longer(ask, registration))
        client.post(ask.request.topic, ask.request.payload)
        step = None
        while step is None:
            step = registration.receive(await inbox.get())
        if isinstance(step, Ask) and step.refusal is not None:
            self.on_throttled(step.refusal)
        return step

    async def _connect(self, credential: OnboardingCredential) -> MqttClient:
        settings = self.settings
        host, port = settings.dps_host, settings.dps_port
        client = MqttClient(f"{host}:{port}", settings.timeout_seconds, self.dialer.timers)
        certificate = credential if isinstance(credential, ClientCertificate) else None
        with self.phases.measure(Phase.DPS_TLS):
            await self.dialer.open(host, port, client, certificate, settings.timeout_seconds, is_brief=True)
        with self.phases.measure(Phase.DPS_CONNACK):
            await client.connect_or_abort(self._connect_packet(credential))
        return client

    def _connect_packet(self, credential: OnboardingCredential) -> Connect:
        settings = self.settings
        name = credential.registration_id
        password = None
        if isinstance(credential, SymmetricKey):
            password = format_dps_token(
                settings.id_scope, name, credential.key, self.now(), settings.sas_lifetime
            ).encode()
        return Connect(
            client_id=name,
            clean_session=True,
            keep_alive_seconds=settings.keep_alive_seconds,
            user_name=format_dps_user_name(settings.id_scope, name, settings.dps_api_version, settings.client_version),
            password=password,
        )


def _longer(ask: Ask, registration: Registration) -> float:
    """Lengthen a wait that DPS asked for, as devices that were told the same must not come at the same moment."""
    purpose = f"come again {registration.registration_id} {registration.request_id}"
    return ask.after_seconds * (1 + RETRY_AFTER_JITTER * fraction(0, purpose, 0))
