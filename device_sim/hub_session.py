"""A device's connection to its hub: telemetry with properties, and the renewal of its certificate."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from broker.packets import Connect
from device_sim.credential import ClientCertificate, OnboardingCredential, SymmetricKey
from device_sim.dialer import Dialer
from device_sim.errors import CredentialError, RequestTimeout
from device_sim.inbox import Inbox
from device_sim.mqtt import MqttClient
from device_sim.phases import Phase, Phases
from device_sim.registration import Assignment
from device_sim.renewal import CONFLICT_STATUS, REPLACE_ANY, Renewal
from device_sim.sas import format_hub_token
from device_sim.settings import DeviceSettings
from device_sim.topics import (
    CREDENTIALS_FILTER,
    CREDENTIALS_PREFIX,
    format_hub_user_name,
    format_telemetry_topic,
)

CONTENT_TYPE = "$.ct"
CONTENT_ENCODING = "$.ce"
JSON_UTF8: Mapping[str, str] = {CONTENT_TYPE: "application/json", CONTENT_ENCODING: "utf-8"}


@dataclass(frozen=True, slots=True)
class HubClient:
    """Connects devices to their hubs; `now` is the devices' clock, for the lifetime of tokens."""

    settings: DeviceSettings
    dialer: Dialer
    now: Callable[[], datetime]
    phases: Phases = field(default_factory=Phases)

    async def connect(self, assignment: Assignment, credential: OnboardingCredential) -> "HubSession":
        """Connect with a certificate (the operational one, or one that the hub knows itself) or a symmetric key.

        Raises:
            ConnectionRefused: the hub does not accept the credential.
            DeviceError: the hub could not be reached or is not trusted.
        """
        settings = self.settings
        host = settings.gateway_host_name or assignment.hub
        client = MqttClient(f"{host}:{settings.hub_port}", settings.timeout_seconds, self.dialer.timers)
        certificate = credential if isinstance(credential, ClientCertificate) else None
        with self.phases.measure(Phase.HUB_TLS):
            await self.dialer.open(host, settings.hub_port, client, certificate, settings.timeout_seconds)
        with self.phases.measure(Phase.HUB_CONNACK):
            await client.connect_or_abort(self._connect_packet(assignment, credential))
        return HubSession(settings, assignment, client)

    def _connect_packet(self, assignment: Assignment, credential: OnboardingCredential) -> Connect:
        settings = self.settings
        hub, device_id = assignment.hub, assignment.device_id
        password = None
        if isinstance(credential, SymmetricKey):
            password = format_hub_token(hub, device_id, credential.key, self.now(), settings.sas_lifetime).encode()
        return Connect(
            client_id=device_id,
            clean_session=settings.clean_session,
            keep_alive_seconds=settings.keep_alive_seconds,
            user_name=format_hub_user_name(hub, device_id, settings.hub_api_version, settings.client_version),
            password=password,
        )


class HubSession:
    """One open connection of one device to its hub; `mqtt` is there for whatever is not offered here."""

    __slots__ = ("_credentials", "_settings", "assignment", "mqtt")

    def __init__(self, settings: DeviceSettings, assignment: Assignment, mqtt: MqttClient) -> None:
        self._settings = settings
        self._credentials: Inbox | None = None
        self.assignment = assignment
        self.mqtt = mqtt

    async def send_telemetry(self, body: bytes, properties: Mapping[str, str] = JSON_UTF8, *, qos: int = 1) -> None:
        """Send one message; system properties are named as on the wire: `$.ct`, `$.ce`, `$.mid`, ….

        Raises:
            ConnectionLost, RequestTimeout: it is not known whether the hub has the message.
        """
        await self.mqtt.publish(format_telemetry_topic(self.assignment.device_id, properties), body, qos)

    async def renew_certificate(self, csr: str) -> tuple[x509.Certificate, ...]:
        """Have a new certificate issued and return its chain, leaf first; a pending request is replaced.

        Raises:
            CredentialError: the hub refused.
            ConnectionLost, RequestTimeout, UnexpectedResponse: there was no answer.
        """
        limit = self._settings.operation_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await self._renew(csr)
        except TimeoutError:
            raise RequestTimeout(f"{self.mqtt.peer}: no certificate within {limit:g} s") from None

    async def _renew(self, csr: str) -> tuple[x509.Certificate, ...]:
        if self._credentials is None:
            inbox = Inbox(self.mqtt, CREDENTIALS_PREFIX)
            await self.mqtt.subscribe([CREDENTIALS_FILTER])
            self._credentials = inbox
        try:
            return await self._exchange(self._credentials, csr)
        except CredentialError as error:
            if error.status != CONFLICT_STATUS:
                raise
        return await self._exchange(self._credentials, csr, replace=REPLACE_ANY)

    async def _exchange(self, inbox: Inbox, csr: str, *, replace: str = "") -> tuple[x509.Certificate, ...]:
        renewal = Renewal(self.assignment.device_id, csr, str(uuid.uuid4()), replace=replace)
        request = renewal.start()
        self.mqtt.post(request.topic, request.payload)
        chain = None
        while chain is None:
            chain = renewal.receive(await inbox.get())
        return chain

    async def close(self) -> None:
        """Leave in good order."""
        await self.mqtt.disconnect()
