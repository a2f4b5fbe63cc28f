"""What a fault is: its kind, what it may happen to, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final


class Operation(StrEnum):
    """What a device asks for, or what is done for it."""

    HANDSHAKE = "handshake"  # of TLS; who the device is is not known yet
    CONNECT = "connect"
    SUBSCRIBE = "subscribe"
    REGISTER = "register"
    POLL = "poll"
    TELEMETRY = "telemetry"
    TWIN = "twin"
    METHOD = "method"
    RENEW = "renew"
    ISSUE = "issue"  # the signing of a certificate, at registration or renewal


class Phase(StrEnum):
    """Whether a fault strikes before the service has done what was asked, or after: then only the device knows less."""

    BEFORE = "before"
    AFTER = "after"


class FaultKind(StrEnum):
    """What happens."""

    THROTTLED = "throttled"  # 429 with retry-after
    SERVER_ERROR = "server-error"  # 500 or 503
    DROPPED_ACKNOWLEDGEMENT = "dropped-acknowledgement"  # no CONNACK, SUBACK or PUBACK
    NEVER_COMPLETES = "never-completes"  # 202 and nothing after it
    DELAYED = "delayed"
    DUPLICATED = "duplicated"
    CUT = "cut"
    SILENCE = "silence"  # half-open TCP
    SLOW_CA = "slow-ca"
    HUB_UNAVAILABLE = "hub-unavailable"
    TLS_ALERT = "tls-alert"
    WRONG_KEY = "wrong-key"
    WRONG_CN = "wrong-cn"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    OVER_LONG = "over-long"


_O, _K = Operation, FaultKind
ANSWERED: Final = (_O.REGISTER, _O.POLL, _O.TWIN, _O.RENEW)
PACKETS: Final = (_O.CONNECT, _O.SUBSCRIBE, *ANSWERED, _O.TELEMETRY, _O.METHOD)
CERTIFICATE_KINDS: Final = frozenset(
    {_K.WRONG_KEY, _K.WRONG_CN, _K.EXPIRED, _K.NOT_YET_VALID, _K.REORDERED, _K.TRUNCATED, _K.OVER_LONG}
)
# Which operations a kind can happen to; without a word of it a fault is for all of them.
OPERATIONS: Mapping[FaultKind, tuple[Operation, ...]] = MappingProxyType(
    {
        _K.THROTTLED: (_O.CONNECT, *ANSWERED, _O.TELEMETRY),
        _K.SERVER_ERROR: (_O.CONNECT, *ANSWERED),
        _K.DROPPED_ACKNOWLEDGEMENT: PACKETS,
        _K.NEVER_COMPLETES: (_O.REGISTER, _O.RENEW),
        _K.DELAYED: PACKETS,
        _K.DUPLICATED: ANSWERED,
        _K.CUT: PACKETS,
        _K.SILENCE: PACKETS,
        _K.SLOW_CA: (_O.REGISTER, _O.RENEW),
        _K.HUB_UNAVAILABLE: (_O.REGISTER,),
        _K.TLS_ALERT: (_O.HANDSHAKE,),
        **dict.fromkeys(CERTIFICATE_KINDS, (_O.ISSUE,)),
    }
)
# Only these can strike at either moment, and strike before if nothing is said.
EITHER_PHASE: Final = frozenset({_K.CUT, _K.SILENCE, _K.SERVER_ERROR})
# An enrollment is known where DPS attests a device, and of a certificate that is issued at a registration.
ENROLLED: Final = frozenset({_O.REGISTER, _O.POLL, _O.ISSUE})
MAX_SECONDS: Final = 3600.0
STATUSES: Final = (500, 503)


class FaultRefused(ValueError):
    """A fault that cannot be; the message names the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One operation of one device at one service (the name of a hub or DPS); texts are empty where not known.

    `hub` is the one that a registration would be assigned to.
    """

    operation: Operation
    device_id: str = ""
    service: str = ""
    enrollment: str = ""
    hub: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, for whom, and how often.

    `device`, `service` and `enrollment` are globs; of a hub that is unavailable, `service` may be the hub as well as
    the DPS. It strikes at the `nth` matching occurrence of each device, or at each with `probability` chosen by
    `seed`; `limit` bounds how often it does in all. `seconds` is for how long something is delayed,
    `retry_after_seconds` what a device is told, `status` that of a server error.

    Raises:
        FaultRefused: the parts do not fit together.
    """

    kind: FaultKind
    operations: tuple[Operation, ...] = ()
    phase: Phase = Phase.BEFORE
    device: str = "*"
    service: str = "*"
    enrollment: str = "*"
    nth: int | None = None
    probability: float = 1.0
    seed: int = 0
    limit: int | None = None
    seconds: float = 5.0
    retry_after_seconds: int = 3
    status: int = 500

    def __post_init__(self) -> None:
        possible = OPERATIONS[self.kind]
        odd = [each for each in self.operations if each not in possible]
        if odd:
            raise FaultRefused(f"{self.kind} cannot happen to {odd[0]}, only to {', '.join(possible)}")
        if not self.operations:
            enrolled = tuple(each for each in possible if each in ENROLLED) if self.enrollment != "*" else possible
            object.__setattr__(self, "operations", enrolled)
        if self.enrollment != "*" and not (self.operations and set(self.operations) <= ENROLLED):
            raise FaultRefused(f"an enrollment is only known for {', '.join(sorted(ENROLLED))}: name device or service")
        if self.phase is Phase.AFTER and self.kind not in EITHER_PHASE:
            raise FaultRefused(f"{self.kind} has no phase: only {', '.join(sorted(EITHER_PHASE))} have one")
        if self.nth is not None and self.probability != 1:
            raise FaultRefused("a fault has either nth or probability, not both")
        if self.kind is FaultKind.TLS_ALERT and (self.device, self.service) != ("*", "*"):
            raise FaultRefused("in the TLS handshake neither device nor service is known: leave both out")

    def matches(self, occurrence: Occurrence) -> bool:
        """Tell whether this may happen to it; the operation has been looked at."""
        return (
            (self.device == "*" or fnmatchcase(occurrence.device_id, self.device))
            and (self.service == "*" or any(fnmatchcase(name, self.service) for name in self._services(occurrence)))
            and (self.enrollment == "*" or fnmatchcase(occurrence.enrollment, self.enrollment))
        )

    @property
    def asks_for_hub(self) -> bool:
        """Tell whether this depends on the hub that a registration would be assigned to."""
        return self.kind is FaultKind.HUB_UNAVAILABLE and self.service != "*"

    def _services(self, occurrence: Occurrence) -> tuple[str, ...]:
        return (occurrence.service, occurrence.hub) if self.asks_for_hub else (occurrence.service,)
