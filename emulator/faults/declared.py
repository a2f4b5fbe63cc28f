"""What a configuration says about faults and quotas."""

from dataclasses import dataclass

from emulator.faults.fault import Fault
from emulator.faults.profiles import Profile
from emulator.faults.quota import QuotaMode, Tier


@dataclass(frozen=True, slots=True)
class DeclaredFaults:
    """What a configuration sets at the start."""

    profile: Profile = Profile.OFF
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    message_properties: bool = True
    quota: QuotaMode = QuotaMode.OFF
    tier: Tier = Tier.S1
    units: int = 1
