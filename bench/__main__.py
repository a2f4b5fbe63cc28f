"""`python -m bench`: measure every budget of the design and print the table."""

import argparse
import tempfile
from pathlib import Path

from bench.flatness import ACTIVE, Flatness, format_flatness, measure_flatness
from bench.fleet import read_fleet
from bench.lab import Lab, open_lab
from bench.machine import describe_machine
from bench.population import multiply_device
from bench.rows import (
    CONNECTS,
    SIMULATED_DEVICES,
    SIMULATOR_ROUNDS,
    connect_row,
    memory_row,
    message_row,
    onboarding_row,
    simulator_row,
    start_row,
)
from bench.server import allow_many_files
from bench.table import Row, format_table

FEW_CONNECTED = 100


def main() -> None:
    """Measure, and print what was measured on which machine."""
    arguments = _arguments()
    allow_many_files()
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="hublet-bench-") as directory:
        onboarded = max(arguments.connected + ACTIVE.devices, CONNECTS)
        more = SIMULATOR_ROUNDS * SIMULATED_DEVICES
        with open_lab(Path(directory), onboarded=onboarded, more=more, rounds=arguments.rounds) as lab:
            rows, flatness = measure(lab, arguments)
    print(f"\n{format_table(rows)}\n\n{format_flatness(flatness)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="The budgets of the design, as ratios.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement [5]")
    parser.add_argument("--connected", type=int, default=2_000, help="idle connections, at most 18,000 [2000]")
    parser.add_argument("--devices", type=int, default=100_000, help="devices in the state that hublet starts on")
    return parser.parse_args()


def measure(lab: Lab, arguments: argparse.Namespace) -> tuple[list[Row], list[Flatness]]:
    """Measure every row, and how flat the costs are."""
    with lab.hublet() as hublet:
        onboarding = onboarding_row(lab, hublet)
        simulator = simulator_row(lab, hublet)
        with lab.mosquitto(read_fleet(lab.hub_fleet)[0].root) as mosquitto:
            rows = [
                connect_row(lab, hublet, mosquitto, "1.3"),
                connect_row(lab, hublet, mosquitto, "1.2"),
                message_row(lab, hublet, mosquitto),
                onboarding,
            ]
        flatness = measure_flatness(lab, hublet, FEW_CONNECTED, arguments.connected)
    rows.append(memory_row(lab, arguments.connected))
    device_id = read_fleet(lab.hub_fleet)[0].device_id
    multiply_device(lab.installation.database, device_id, arguments.devices)
    rows.append(start_row(lab, arguments.devices))
    return [*rows, simulator], flatness


if __name__ == "__main__":
    main()
