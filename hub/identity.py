"""Device and module identities: what a hub knows about who may connect."""

import base64
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from hub.errors import ArgumentInvalid

DEVICE_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}", re.ASCII)
THUMBPRINT = re.compile(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", re.ASCII)
MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64
NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)


class DeviceStatus(StrEnum):
    """Whether a device may connect."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class AuthenticationType(StrEnum):
    """How an identity proves itself; exactly one way per identity."""

    SAS = "sas"
    SELF_SIGNED = "selfSigned"
    CERTIFICATE_AUTHORITY = "certificateAuthority"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Authentication:
    """The credential an identity is registered with: two keys, two thumbprints, or neither."""

    type: AuthenticationType
    primary_key: str | None = field(default=None, repr=False)
    secondary_key: str | None = field(default=None, repr=False)
    primary_thumbprint: str | None = None
    secondary_thumbprint: str | None = None

    @classmethod
    def generate_sas(cls) -> Self:
        """Make a `sas` authentication with two random keys of 32 bytes."""
        return cls(AuthenticationType.SAS, generate_key(), generate_key())


@dataclass(frozen=True, slots=True)
class ModuleIdentity:
    """A module of a device: an identity of its own with its own connection, but no status of its own."""

    device_id: str
    module_id: str
    generation_id: str
    etag: str
    authentication: Authentication
    created: datetime
    managed_by: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """A device as registered; `generation_id` changes when it is deleted and created again."""

    device_id: str
    generation_id: str
    etag: str
    authentication: Authentication
    created: datetime
    status: DeviceStatus = DeviceStatus.ENABLED
    status_reason: str | None = None
    status_updated: datetime = NEVER

    @property
    def enabled(self) -> bool:
        """Whether the device may connect."""
        return self.status is DeviceStatus.ENABLED


def generate_key() -> str:
    """Make a symmetric key: 32 random bytes as base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def generate_generation_id(now: datetime) -> str:
    """Make a generation ID: the ticks (100 ns since year 1) of this second, their fraction random.

    The random fraction tells two generations apart even while the clock is frozen.

    Source: captured values such as 637547758448037735 have this form (observed).
    """
    seconds = (now - NEVER) // timedelta(seconds=1)
    return str(seconds * 10**7 + secrets.randbelow(10**7))


def format_etag(generation_id: str, revision: int) -> str:
    """Write the ETag of a stored revision: base64 of a decimal counter that no earlier generation had.

    Source: live probes show base64 of a decimal counter (observed); how it counts is assumed.
    """
    return base64.b64encode(str(int(generation_id) % 10**9 + revision).encode()).decode()


def check_device_id(device_id: str, noun: str = "deviceId") -> None:
    """Check a device or module ID: 1–128 of the characters `A-Za-z0-9-:.+%_#*?!(),=@;$'`.

    Raises:
        ArgumentInvalid: it is not.

    Source: iot-hub-devguide-identity-registry.md (documented).
    """
    if not DEVICE_ID.fullmatch(device_id):
        raise ArgumentInvalid(f"{noun} {device_id[:140]!r} is not 1–128 of the characters A-Za-z0-9-:.+%_#*?!(),=@;$'")


def check_authentication(authentication: Authentication) -> None:
    """Check keys (base64 of 16–64 bytes, both or neither) and thumbprints (40 or 64 hex digits).

    Raises:
        ArgumentInvalid: a key or thumbprint is malformed, or of another kind than the type says; or type `none`,
            which Azure keeps for its own modules.

    Source: live probes of the identity registry (observed).
    """
    keys = (authentication.primary_key, authentication.secondary_key)
    thumbprints = (authentication.primary_thumbprint, authentication.secondary_thumbprint)
    _check_kind(authentication.type, keys, thumbprints)
    for name, key in zip(("primaryKey", "secondaryKey"), keys, strict=True):
        if key is not None and not MIN_KEY_BYTES <= _decoded_length(key) <= MAX_KEY_BYTES:
            raise ArgumentInvalid(f"{name} is not base64 of {MIN_KEY_BYTES}–{MAX_KEY_BYTES} bytes")
    for thumbprint in thumbprints:
        if thumbprint is not None and not THUMBPRINT.fullmatch(thumbprint):
            raise ArgumentInvalid(f"thumbprint {thumbprint[:80]!r} is not 40 or 64 hex digits")


def _check_kind(
    kind: AuthenticationType, keys: tuple[str | None, str | None], thumbprints: tuple[str | None, str | None]
) -> None:
    if kind is AuthenticationType.NONE:
        raise ArgumentInvalid("authentication type none is not for devices")
    if (keys[0] is None) is not (keys[1] is None):
        raise ArgumentInvalid("primaryKey and secondaryKey: give both or neither")
    if keys[0] is not None and kind is not AuthenticationType.SAS:
        raise ArgumentInvalid(f"symmetricKey does not go with authentication type {kind}")
    if any(thumbprints) and kind is not AuthenticationType.SELF_SIGNED:
        raise ArgumentInvalid(f"x509Thumbprint does not go with authentication type {kind}")


def _decoded_length(key: str) -> int:
    try:
        return len(base64.b64decode(key, validate=True))
    except ValueError:
        return -1
