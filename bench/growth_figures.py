"""What is measured while a fleet grows."""

from dataclasses import dataclass

from bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Cost:
    """µs of CPU for one of something, of hublet and of the simulator."""

    hublet: Spread
    simulator: Spread


@dataclass(frozen=True, slots=True)
class Growth:
    """What was measured with so many devices connected; resident memory in MB of the processes."""

    connected: int
    onboarding: Cost
    message: Cost
    hublet_megabytes: float
    simulator_megabytes: float
