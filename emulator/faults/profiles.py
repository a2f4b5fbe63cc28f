"""Faults that come as a set: `off`, `mild` and `storm`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from emulator.faults.fault import CERTIFICATE_KINDS, OPERATIONS, Fault, FaultKind, Operation, Phase

MILD_SHARE: Final = 0.05
STORM_SHARE: Final = 0.2

_K, _P = FaultKind, Phase
MILD: Final = (
    (_K.THROTTLED, _P.BEFORE),
    (_K.SERVER_ERROR, _P.BEFORE),
    (_K.DROPPED_ACKNOWLEDGEMENT, _P.BEFORE),
    (_K.DELAYED, _P.BEFORE),
    (_K.DUPLICATED, _P.BEFORE),
    (_K.CUT, _P.BEFORE),
    (_K.CUT, _P.AFTER),
)
STORM: Final = (
    *MILD,
    (_K.SERVER_ERROR, _P.AFTER),
    (_K.NEVER_COMPLETES, _P.BEFORE),
    (_K.SILENCE, _P.BEFORE),
    (_K.SILENCE, _P.AFTER),
    (_K.SLOW_CA, _P.BEFORE),
    (_K.HUB_UNAVAILABLE, _P.BEFORE),
    (_K.TLS_ALERT, _P.BEFORE),
    *((kind, _P.BEFORE) for kind in FaultKind if kind in CERTIFICATE_KINDS),
)
# In a storm that is to end some day, what a device can only wait out is short.
SECONDS: Final = 1.0
RETRY_AFTER_SECONDS: Final = 2


class Profile(StrEnum):
    """A set of faults: none; 5 % of requests meet something a device must survive; 20 % meet anything at all."""

    OFF = "off"
    MILD = "mild"
    STORM = "storm"


def profile_faults(profile: Profile, seed: int) -> Mapping[str, Fault]:
    """Give the faults of a profile by name.

    Each operation meets a fault with the profile's share, whichever and however many are possible for it.
    """
    kinds, share = {
        Profile.OFF: ((), 0.0),
        Profile.MILD: (MILD, MILD_SHARE),
        Profile.STORM: (STORM, STORM_SHARE),
    }[profile]
    faults = {}
    for operation in Operation:
        possible = [each for each in kinds if operation in OPERATIONS[each[0]]]
        for kind, phase in possible:
            name = f"{profile}-{operation}-{kind}" + ("-after" if phase is Phase.AFTER else "")
            faults[name] = Fault(
                kind,
                (operation,),
                phase,
                # Independent chances that come to the share together.
                probability=1 - (1 - share) ** (1 / len(possible)),
                seed=seed,
                seconds=SECONDS,
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
    return faults
