"""The documented limits of DPS and hubs as token buckets, and what they would have throttled.

Limits: iot-hub-devguide-quotas-throttling.md, about-iot-dps.md (documented). Traffic shaping, which lets a burst
through and makes the rest wait, is documented in words only: its numbers are assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from emulator.faults.fault import Operation

# A message waits at most so long for its turn, then its connection ends: "Wait 10 seconds" (observed text; assumed).
MAX_WAIT_SECONDS: Final = 10.0
# How much of a limit may come at once (assumed).
BURST_SECONDS: Final = 2.0
MAX_DEVICES: Final = 100_000
MAX_LISTED: Final = 10


class QuotaMode(StrEnum):
    """What happens above a limit: nothing and nothing is counted; it is counted; it is throttled too."""

    OFF = "off"
    REPORT = "report"
    ENFORCE = "enforce"


class Tier(StrEnum):
    """The size of a hub; B1, B2 and B3 have the limits of S1, S2 and S3."""

    S1 = "S1"
    S2 = "S2"
    S3 = "S3"


class ServiceOperation(StrEnum):
    """What a hub is asked for by its service API; devices' changes of their twins count as one of them."""

    REGISTRY = "registry"
    TWIN_READ = "twin-read"
    TWIN_UPDATE = "twin-update"
    METHOD = "method"
    CLOUD_TO_DEVICE = "cloud-to-device"
    QUERY = "query"


Metered = Operation | ServiceOperation


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate; `burst` is how many may come at once. `by_device` counts each device by itself."""

    name: str
    per_second: float
    burst: float
    by_device: bool = False


def _rate(name: str, per_second: float) -> Limit:
    return Limit(name, per_second, max(per_second * BURST_SECONDS, 1))


def _minute(name: str, per_minute: int) -> Limit:
    """Limit by the minute; a minute's worth may come at once (assumed)."""
    return Limit(name, per_minute / 60, per_minute)


def hub_limits(tier: Tier, units: int) -> Mapping[Metered, tuple[Limit, ...]]:
    """Give the limits of a hub of so many units.

    Source: iot-hub-devguide-quotas-throttling.md (documented); that renewals count as twin updates, and each method
    call as one 4 KB meter, is assumed.
    """
    connections, reads, updates = {
        Tier.S1: (max(100, 12 * units), 100, 50),
        Tier.S2: (120 * units, max(100, 10 * units), max(50, 5 * units)),
        Tier.S3: (6000 * units, 500 * units, 250 * units),
    }[tier]
    operations, queries, methods = {Tier.S1: (100, 20, 40), Tier.S2: (100, 20, 120), Tier.S3: (5000, 1000, 6144)}[tier]
    read, update = _rate("twin reads", reads), _rate("twin updates", updates)
    return MappingProxyType(
        {
            Operation.CONNECT: (_rate("new device connections", connections),),
            Operation.TELEMETRY: (_rate("device-to-cloud sends", connections),),
            Operation.TWIN: (read,),
            Operation.RENEW: (update,),
            ServiceOperation.TWIN_READ: (read,),
            ServiceOperation.TWIN_UPDATE: (update,),
            ServiceOperation.REGISTRY: (_minute("identity registry operations", operations * units),),
            ServiceOperation.CLOUD_TO_DEVICE: (_minute("cloud-to-device sends", operations * units),),
            ServiceOperation.QUERY: (_minute("queries", queries * units),),
            ServiceOperation.METHOD: (_rate("direct methods", methods * units),),
        }
    )


def dps_limits() -> Mapping[Metered, tuple[Limit, ...]]:
    """Give the limits of a DPS: 1,000 registrations and 1,000 operations a minute, 5 polls in 10 s for each device.

    Source: about-iot-dps.md (documented); a minute's worth may come at once (assumed).
    """
    operations = Limit("operations", 1000 / 60, 1000)
    return MappingProxyType(
        {
            Operation.REGISTER: (Limit("device registrations", 1000 / 60, 1000), operations),
            Operation.POLL: (Limit("device polling", 0.5, 5, by_device=True),),
        }
    )


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


@dataclass(slots=True)
class _Account:
    limit: Limit
    requests: int = 0
    over: int = 0
    longest_wait: float = 0.0
    first: datetime | None = None
    last: datetime | None = None
    devices: dict[str, int] = field(default_factory=dict)
    buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, device_id: str, now: datetime, longest_wait: float) -> float:
        """Count a request, and give the seconds until it is within the limit.

        What waits has taken its token in advance: the next one waits longer. What would wait too long takes none.
        """
        self.requests += 1
        bucket = self._bucket(device_id if self.limit.by_device else "", now)
        elapsed = max((now - bucket.at).total_seconds(), 0.0)
        bucket.tokens = min(bucket.tokens + elapsed * self.limit.per_second, self.limit.burst)
        bucket.at = now
        wait = max(1 - bucket.tokens, 0) / self.limit.per_second
        if wait <= longest_wait:
            bucket.tokens -= 1
        if wait:
            self._note(device_id, now, wait)
        return wait

    def _bucket(self, key: str, now: datetime) -> _Bucket:
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = _Bucket(self.limit.burst, now)
            if len(self.buckets) > MAX_DEVICES:
                del self.buckets[next(iter(self.buckets))]
        return bucket

    def _note(self, device_id: str, now: datetime, wait: float) -> None:
        self.over += 1
        self.longest_wait = max(self.longest_wait, wait)
        self.first, self.last = self.first or now, now
        if device_id and (device_id in self.devices or len(self.devices) < MAX_DEVICES):
            self.devices[device_id] = self.devices.get(device_id, 0) + 1

    def describe(self, service: str) -> dict[str, Any]:
        most = sorted(self.devices.items(), key=lambda each: -each[1])[:MAX_LISTED]
        return {
            "service": service,
            "limit": self.limit.name,
            "perSecond": round(self.limit.per_second, 3),
            "burst": self.limit.burst,
            "perDevice": self.limit.by_device,
            "requests": self.requests,
            "over": self.over,
            "longestWaitSeconds": round(self.longest_wait, 3),
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "devices": [{"deviceId": device_id, "over": count} for device_id, count in most],
        }


class Quota:
    """The limits of one service, with their accounts."""

    def __init__(self, service: str, limits: Mapping[Metered, tuple[Limit, ...]]) -> None:
        self._service = service
        accounts: dict[str, _Account] = {}
        self._accounts = {
            operation: tuple(accounts.setdefault(limit.name, _Account(limit)) for limit in each)
            for operation, each in limits.items()
        }
        self._all = tuple(accounts.values())

    def take(self, operation: Metered, device_id: str, now: datetime) -> float:
        """Count a request, and give the seconds until it is within every limit; 0 for at once.

        Telemetry waits for its turn; anything else is refused, and has to ask again.
        """
        longest_wait = MAX_WAIT_SECONDS if operation is Operation.TELEMETRY else 0.0
        return max((each.take(device_id, now, longest_wait) for each in self._accounts.get(operation, ())), default=0.0)

    def describe(self) -> list[dict[str, Any]]:
        """List the limits, each with how often and for whom it was too little."""
        return [account.describe(self._service) for account in self._all]
