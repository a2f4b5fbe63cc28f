"""What goes wrong on a device's own side: a power loss at the worst moment, a wrong clock, a slow network."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509

from certs.keys import PrivateKey
from device_sim.certificate_store import CertificateStore, StoredDevice
from device_sim.credential import ClientCertificate
from device_sim.dialer import Dialer, system_now
from device_sim.errors import DeviceError
from device_sim.registration import Assignment
from device_sim.scenario_faults import DeviceFaults, is_hit
from device_sim.slow_network import SlowLink


class PowerLost(DeviceError):
    """The device lost its power after a certificate was received and before it was stored."""


class PowerLossStore:
    """A device's memory, but the first certificate that comes does not reach it any more."""

    __slots__ = ("_has_struck", "_store")

    def __init__(self, store: CertificateStore) -> None:
        self._store = store
        self._has_struck = False

    def load(self) -> StoredDevice:
        """Read what is there."""
        return self._store.load()

    def pending_key(self) -> PrivateKey | None:
        """Read the key that a certificate was asked for, if none has come yet."""
        return self._store.pending_key()

    def save_pending_key(self, key: PrivateKey) -> None:
        """Keep a key before its CSR is sent."""
        self._store.save_pending_key(key)

    def save_assignment(self, assignment: Assignment) -> None:
        """Keep where the device belongs."""
        self._store.save_assignment(assignment)

    def save_chain(self, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
        """Keep a chain, but for the first.

        Raises:
            PowerLost: this was the first.
            CertificateMismatch: see `CertificateStore.save_chain`.
        """
        if not self._has_struck:
            self._has_struck = True
            raise PowerLost("power was lost before the certificate was stored")
        return self._store.save_chain(chain)


class FaultyDevices:
    """Which device of a fleet has which faults, always the same for one seed; devices are counted from 0."""

    def __init__(
        self, faults: DeviceFaults, seed: int, dialer: Dialer, now: Callable[[], datetime] = system_now
    ) -> None:
        self._faults = faults
        self._now = now
        self._seed = seed
        self._dialer = dialer
        self._dialers: dict[tuple[bool, bool], Dialer] = {(False, False): dialer}

    def store(self, device: int, store: CertificateStore) -> CertificateStore:
        """Give the device's memory, with a power loss ahead if it is hit."""
        return PowerLossStore(store) if self._hits("power_loss", self._faults.power_loss, device) else store

    def reuses_key(self, device: int) -> bool:
        """Tell whether the device's key is the first device's."""
        return self._hits("key_reuse", self._faults.key_reuse, device)

    def clock(self, device: int) -> Callable[[], datetime]:
        """Give the device's clock."""
        return self._wrong_now if self._has_wrong_clock(device) else self._now

    def dialer(self, device: int) -> Dialer:
        """Give what the device connects through."""
        kind = (self._has_wrong_clock(device), self._is_slow(device))
        if kind not in self._dialers:
            self._dialers[kind] = self._dialer.variant(
                now=self._wrong_now if kind[0] else None, link=self._slow if kind[1] else None
            )
        return self._dialers[kind]

    def _has_wrong_clock(self, device: int) -> bool:
        clock = self._faults.wrong_clock
        return clock is not None and self._hits("wrong_clock", clock.share, device)

    def _is_slow(self, device: int) -> bool:
        network = self._faults.slow_network
        return network is not None and self._hits("slow_network", network.share, device)

    def _hits(self, fault: str, share: float, device: int) -> bool:
        return bool(share) and is_hit(fault, share, device, self._seed)

    def _wrong_now(self) -> datetime:
        assert self._faults.wrong_clock is not None, "only devices with a wrong clock ask"
        return self._now() + timedelta(seconds=self._faults.wrong_clock.offset_seconds)

    def _slow(self, above: asyncio.BufferedProtocol) -> SlowLink:
        network = self._faults.slow_network
        assert network is not None, "only devices with a slow network ask"
        return SlowLink(above, self._dialer.timers, network.delay_seconds, network.bytes_per_second)
