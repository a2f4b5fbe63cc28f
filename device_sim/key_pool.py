"""Private keys made in advance and kept in a file, so that making them is not what a run measures.

The file has mode 0600 and is text: a first line that says what it is, then one line for each key, base64 of DER
PKCS#8. They are keys of simulated devices: a pool may be used again and again.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from broker.tls import TlsKey
from certs.keyfile import write_private
from certs.keys import KeyType, PrivateKey, generate_key, key_type_of
from device_sim.processes import chunks, work_through
from device_sim.signing_request import format_signing_request

HEADER = "hublet key pool 1: "

# Measured on a machine of 2026, in order to decide how to divide the work; a factor of three off does no harm.
SECONDS_PER_KEY: Mapping[KeyType, float] = MappingProxyType(
    {
        KeyType.P256: 20e-6,
        KeyType.P384: 200e-6,
        KeyType.P521: 500e-6,
        KeyType.RSA2048: 40e-3,
        KeyType.RSA3072: 150e-3,
        KeyType.RSA4096: 500e-3,
    }
)


class KeyPoolError(Exception):
    """A file that is no key pool, or not the one that is needed."""


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """A private key with what could be made of it before a run: what TLS takes it as, and a CSR for a common name."""

    private: PrivateKey = field(repr=False)
    tls: TlsKey | None = None
    common_name: str = ""
    csr: str = ""

    @classmethod
    def prepared(cls, private: PrivateKey) -> Self:
        """Convert a key for TLS."""
        return cls(private, TlsKey(private))

    def for_device(self, common_name: str) -> Self:
        """Sign the CSR too.

        Raises:
            ValueError: the common name does not have 1 to 64 characters.
        """
        return replace(self, common_name=common_name, csr=format_signing_request(common_name, self.private))

    def request(self, common_name: str) -> str:
        """Give the CSR for a common name, signed now if it is not the one that was prepared.

        Raises:
            ValueError: the common name does not have 1 to 64 characters.
        """
        return self.csr if self.csr and common_name == self.common_name else self.for_device(common_name).csr


class KeyPool:
    """Keys by number from `first` on, of one type; any other number gets a key that is made on the spot."""

    def __init__(self, key_type: KeyType, keys: Sequence[DeviceKey] = (), *, first: int = 0) -> None:
        self.key_type = key_type
        self._keys = keys
        self._first = first

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> DeviceKey:
        """Give the key of a number, counted from 0."""
        index = number - self._first
        if 0 <= index < len(self._keys):
            return self._keys[index]
        return DeviceKey(generate_key(self.key_type))

    def for_devices(self, common_names: Sequence[str], first: int) -> Self:
        """Sign the CSRs of the devices from number `first` on, as far as there are keys for them.

        Raises:
            ValueError: a common name does not have 1 to 64 characters.
        """
        keys = list(self._keys)
        for index, common_name in enumerate(common_names, start=first - self._first):
            if 0 <= index < len(keys):
                keys[index] = keys[index].for_device(common_name)
        return type(self)(self.key_type, keys, first=self._first)


class FleetKeys:
    """The keys of a fleet of so many devices: for each device one a generation, 0 for onboarding, 1 for a renewal, ….

    No two devices share a key, but for those that `is_reused` names: their first is the first device's.
    """

    def __init__(self, pool: KeyPool, devices: int, is_reused: Callable[[int], bool] = lambda _device: False) -> None:
        self._pool = pool
        self._devices = devices
        self._is_reused = is_reused
        self._shared: DeviceKey | None = None

    def key(self, device: int, generation: int = 0) -> DeviceKey:
        """Give a device's key; the device is counted from 0."""
        if generation == 0 and (device == 0 or self._is_reused(device)):
            self._shared = self._shared or self._pool.key(0)
            return self._shared
        return self._pool.key(generation * self._devices + device)


def generate_keys(
    key_type: KeyType, count: int, progress: Callable[[int], None] = lambda _made: None
) -> Iterator[bytes]:
    """Make keys as DER, on every core when that is worth it; `progress` hears how many were made in all."""
    each = SECONDS_PER_KEY[key_type]
    tasks = [(key_type, len(chunk)) for chunk in chunks(count, each)]
    made = 0
    for keys in work_through(_generate, tasks, count * each):
        made += len(keys)
        progress(made)
        yield from keys


def write_key_pool(path: Path, key_type: KeyType, keys: Iterable[bytes]) -> None:
    """Write a pool atomically, readable by its owner only; the keys are DER.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    lines = [f"{HEADER}{key_type.value}".encode(), *(base64.b64encode(key) for key in keys)]
    write_private(path, b"\n".join(lines) + b"\n")


def read_key_pool(path: Path, limit: int | None = None) -> KeyPool:
    """Read a pool, or no more than so many of its keys.

    Raises:
        OSError: it cannot be read.
        KeyPoolError: it is none, or a line is no key of its type; the message never repeats a line.
    """
    key_type, lines = _read_lines(path)
    keys = []
    for number, line in enumerate(lines[:limit], start=2):
        key = _parse_key(line)
        if key is None or key_type_of(key) is not key_type:
            raise KeyPoolError(f"{path}, line {number}: not a {key_type.value} key in base64")
        keys.append(DeviceKey.prepared(key))
    return KeyPool(key_type, keys)


def format_key(key: PrivateKey) -> bytes:
    """Write a key as DER PKCS#8, unencrypted."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def parse_key(der: bytes) -> PrivateKey:
    """Read what `format_key` wrote; an RSA key is taken as it is, checking its primes costs as much as making them.

    Raises:
        ValueError: it is no EC or RSA key.
    """
    key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"a {type(key).__name__} is neither an EC nor an RSA key")  # noqa: TRY004 - the text's fault
    return key


def _generate(task: tuple[KeyType, int]) -> list[bytes]:
    key_type, count = task
    return [format_key(generate_key(key_type)) for _ in range(count)]


def _read_lines(path: Path) -> tuple[KeyType, list[str]]:
    refusal = KeyPoolError(f"{path} is no key pool: make one with `hublet fleet keys`")
    try:
        header, *lines = path.read_text(encoding="ascii").splitlines()
    except ValueError:
        raise refusal from None
    key_type = next((each for each in KeyType if header == f"{HEADER}{each.value}"), None)
    if key_type is None:
        raise refusal
    return key_type, lines


def _parse_key(line: str) -> PrivateKey | None:
    try:
        return parse_key(base64.b64decode(line, validate=True))
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm):
        return None
