"""One device's life: onboard, connect, send telemetry, renew in time, and back to DPS when the certificate is gone.

`onboard` is the short way for one device; `Device` is the device itself.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from certs.keys import PrivateKey, generate_key, key_type_of
from device_sim.certificate_store import CertificateStore, DirectoryStore, MemoryStore
from device_sim.credential import ClientCertificate, OnboardingCredential
from device_sim.dialer import Dialer, read_trust_anchors, system_now
from device_sim.errors import ConnectionLost, ConnectionRefused, DeviceError, NoCertificateIssued, ProvisioningError
from device_sim.hub_session import HubClient, HubSession
from device_sim.phases import Phase, Phases
from device_sim.provisioning import ProvisioningClient, ignore_throttling
from device_sim.registration import Assignment
from device_sim.settings import DeviceSettings
from device_sim.signing_request import format_signing_request

logger = logging.getLogger("device_sim")

MAX_BACKOFF_SECONDS = 60


@dataclass(frozen=True, slots=True)
class OnboardedDevice:
    """What onboarding gave a device; `certificate` is None when none was asked for."""

    registration_id: str
    device_id: str
    assigned_hub: str
    substatus: str
    certificate: ClientCertificate | None
    payload: Any = None

    @property
    def assignment(self) -> Assignment:
        """Where the device belongs."""
        return Assignment(self.assigned_hub, self.device_id)


async def onboard(
    settings: DeviceSettings,
    credential: OnboardingCredential,
    directory: Path | None = None,
    *,
    payload: dict[str, Any] | None = None,
) -> OnboardedDevice:
    """Onboard one device, and keep its key, chain and assignment in a directory if one is named.

    Raises:
        DeviceError: see `Device.onboard`.
        OSError: the directory or the file of trust anchors cannot be used.
        ValueError: the file of trust anchors holds no certificate.
    """
    store = MemoryStore() if directory is None else DirectoryStore(directory)
    device = Device(settings, credential, store, Dialer(read_trust_anchors(settings.ca_file)))
    return await device.onboard(payload=payload)


class Device:
    """One device with its onboarding credential and its memory; `now` is its clock.

    `certificate` is the operational certificate in use, `session` the open connection to the hub, if there are any.
    `make_key` gives the keys that certificates are asked for, `request` the CSR for a common name and a key;
    `on_throttled` hears of every answer that tells the device to come again later.
    """

    __slots__ = (
        "_credential",
        "_hub",
        "_make_key",
        "_now",
        "_provisioning",
        "_request",
        "_settings",
        "_store",
        "certificate",
        "phases",
        "session",
    )

    def __init__(
        self,
        settings: DeviceSettings,
        credential: OnboardingCredential,
        store: CertificateStore,
        dialer: Dialer,
        *,
        now: Callable[[], datetime] = system_now,
        phases: Phases | None = None,
        make_key: Callable[[], PrivateKey] | None = None,
        request: Callable[[str, PrivateKey], str] = format_signing_request,
        on_throttled: Callable[[ProvisioningError], None] = ignore_throttling,
    ) -> None:
        self._settings = settings
        self._credential = credential
        self._store = store
        self._now = now
        self._make_key = make_key
        self._request = request
        self.phases = phases or Phases()
        self._provisioning = ProvisioningClient(settings, dialer, now, self.phases, on_throttled)
        self._hub = HubClient(settings, dialer, now, self.phases)
        self.certificate: ClientCertificate | None = None
        self.session: HubSession | None = None

    @property
    def registration_id(self) -> str:
        """The device's name at DPS."""
        return self._credential.registration_id

    async def onboard(self, *, payload: dict[str, Any] | None = None) -> OnboardedDevice:
        """Register at DPS and keep what it gives.

        Raises:
            ProvisioningError: DPS refused.
            NoCertificateIssued: a certificate was asked for, but the enrollment has no policy.
            CertificateMismatch: the issued chain is not for the device's key.
            DeviceError: DPS could not be reached, is not trusted, or did not answer.
        """
        csr = self._request_certificate(self.registration_id) if self._settings.request_certificate else ""
        result = await self._provisioning.register(self._credential, csr=csr, payload=payload)
        hub, device_id = result.assignment.hub, result.assignment.device_id
        if csr and not result.chain:
            raise NoCertificateIssued(f"{self.registration_id} was assigned to {hub} without a certificate")
        self._store.save_assignment(result.assignment)
        self.certificate = self._store.save_chain(result.chain) if csr else None
        logger.info("%s: onboarded to %s as %s", self.registration_id, hub, device_id)
        return OnboardedDevice(self.registration_id, device_id, hub, result.substatus, self.certificate, result.payload)

    async def connect(self) -> HubSession:
        """Connect to the hub, with what is remembered if it still serves, else after onboarding.

        Raises:
            DeviceError: neither worked.
        """
        await self.close()
        assignment = self.recall()
        if assignment is not None:
            try:
                return await self.open(assignment)
            except ConnectionRefused as error:
                logger.info("%s: back to DPS: %s", self.registration_id, error)
        return await self.open((await self.onboard()).assignment)

    def recall(self) -> Assignment | None:
        """Take from its memory what the device connects to its hub with; None when it has to go to DPS.

        Raises:
            OSError: the memory cannot be read.
        """
        stored = self._store.load()
        self.certificate = stored.certificate
        return stored.assignment if self._can_connect() else None

    async def open(self, assignment: Assignment) -> HubSession:
        """Connect to the hub with the certificate at hand, or else with the onboarding credential.

        Raises:
            ConnectionRefused: the hub does not accept it.
            DeviceError: the hub could not be reached or is not trusted.
        """
        self.session = await self._hub.connect(assignment, self.certificate or self._credential)
        return self.session

    async def send_telemetry(self, body: bytes) -> None:
        """Send one JSON message over the open session and wait until the hub has it.

        Raises:
            ConnectionLost, RequestTimeout: it is not known whether the hub has the message.
        """
        if Phase.FIRST_PUBACK in self.phases.seconds:
            await self._open_session().send_telemetry(body)
            return
        with self.phases.measure(Phase.FIRST_PUBACK):
            await self._open_session().send_telemetry(body)

    async def renew(self) -> ClientCertificate:
        """Have the next certificate issued over the open session; it counts from the next connection on.

        Raises:
            ConnectionLost: there is no open session.
            CredentialError: the hub refused.
            CertificateMismatch: the issued chain is not for the new key; the old pair stays in use.
            DeviceError: there was no answer.
        """
        session = self._open_session()
        with self.phases.measure(Phase.RENEWAL):
            csr = self._request_certificate(session.assignment.device_id)
            self.certificate = self._store.save_chain(await session.renew_certificate(csr))
        logger.info("%s: renewed until %s", self.registration_id, self.certificate.leaf.not_valid_after_utc)
        return self.certificate

    def seconds_until(self, lifetime_fraction: float) -> float:
        """Give the seconds until this fraction of the certificate's lifetime is over, by the device's clock.

        Raises:
            NoCertificateIssued: it has none.
        """
        if self.certificate is None:
            raise NoCertificateIssued(f"{self.registration_id} has no certificate")
        leaf = self.certificate.leaf
        lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        return (leaf.not_valid_before_utc + lifetime * lifetime_fraction - self._now()).total_seconds()

    def is_renewal_due(self) -> bool:
        """Tell whether 80 % of the certificate's lifetime are over."""
        return self.certificate is not None and self._now() >= self.certificate.renewal_due

    async def close(self) -> None:
        """Leave the hub."""
        session, self.session = self.session, None
        if session is not None:
            await session.close()

    async def live(self, body: Callable[[], bytes], interval_seconds: float) -> None:
        """Send telemetry at an interval, renew and reconnect as needed; ends only by cancellation.

        After a failure the next attempt comes after 1, 2, 4, … at most 60 s.
        """
        backoff_seconds = 1.0
        while True:
            try:
                await self.connect()
                backoff_seconds = 1.0
                await self._serve(body, interval_seconds)
            except DeviceError as error:
                logger.warning("%s: again in %g s: %s", self.registration_id, backoff_seconds, error)
            finally:
                await self.close()
            await asyncio.sleep(backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, MAX_BACKOFF_SECONDS)

    async def _serve(self, body: Callable[[], bytes], interval_seconds: float) -> None:
        while True:
            await self.send_telemetry(body())
            if self.is_renewal_due():
                await self.renew()
                await self.connect()
            await asyncio.sleep(interval_seconds)

    def _can_connect(self) -> bool:
        if not self._settings.request_certificate:
            return True
        return self.certificate is not None and self.certificate.is_valid(self._now())

    def _open_session(self) -> HubSession:
        if self.session is None:
            raise ConnectionLost(f"{self.registration_id} is not connected to a hub")
        return self.session

    def _request_certificate(self, common_name: str) -> str:
        """Make the CSR for a key that is kept first; a key whose certificate never came is used again."""
        key = self._store.pending_key()
        if key is None or key_type_of(key) is not self._settings.key_type:
            key = self._make_key() if self._make_key is not None else generate_key(self._settings.key_type)
            self._store.save_pending_key(key)
        return self._request(common_name, key)
