"""Whether a connect and a message cost the same however many devices are connected."""

from dataclasses import dataclass

from bench.lab import Lab, Measured, Slice
from bench.spread import Spread

ROUNDS = 3
CONNECTS = 400
MESSAGES = 40_000
# Who comes and goes and sends, beside those that are connected and silent.
ACTIVE = Slice(0, 100)


@dataclass(frozen=True, slots=True)
class Flatness:
    """µs for a connect and a message while so many devices are connected and silent."""

    connected: int
    connect: Spread
    message: Spread


def measure_flatness(lab: Lab, hublet: Measured, few: int, many: int) -> list[Flatness]:
    """Measure with few and with many silent connections, in turn."""
    costs: dict[int, tuple[list[float], list[float]]] = {few: ([], []), many: ([], [])}
    for _ in range(ROUNDS):
        for connected, (connects, messages) in costs.items():
            lab.open_idle(hublet, Slice(ACTIVE.devices, connected))
            connects.append(lab.connect_cost(hublet, ACTIVE, tls="1.3", connects=CONNECTS))
            messages.append(lab.message_cost(hublet, ACTIVE, messages=MESSAGES))
            lab.close_idle()
    return [
        Flatness(connected, Spread.of(connects), Spread.of(messages))
        for connected, (connects, messages) in costs.items()
    ]


def format_flatness(measured: list[Flatness]) -> str:
    """Write the measurements as a Markdown table."""
    lines = ["| connected devices | CPU per connect, µs | CPU per QoS 1 message, µs |", "|---|---|---|"]
    lines += [f"| {each.connected:,} | {each.connect.text()} | {each.message.text()} |" for each in measured]
    return "\n".join(lines)
