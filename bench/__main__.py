"""`python -m bench`: measure every budget of the design and print the table."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.flatness import ACTIVE, Flatness, format_flatness, measure_flatness
from bench.fleet import read_fleet
from bench.lab import Lab, open_lab
from bench.machine import describe_machine
from bench.population import multiply_device
from bench.rows import (
    CONNECTS,
    SIMULATED_IN_ALL,
    connect_row,
    memory_row,
    message_row,
    onboarding_row,
    simulator_rows,
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
        with open_lab(Path(directory), onboarded=onboarded, more=SIMULATED_IN_ALL, rounds=arguments.rounds) as lab:
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
        onboarding = onboarding_row(_say(lab, "onboarding"), hublet)
        simulator = simulator_rows(_say(lab, "simulator"), hublet)
    with lab.mosquitto(read_fleet(lab.hub_fleet)[0].root) as mosquitto:
        rows = [connect_row(_say(lab, f"connects, TLS {tls}"), mosquitto, tls) for tls in ("1.3", "1.2")]
        with lab.hublet() as hublet:
            rows.append(message_row(_say(lab, "messages"), hublet, mosquitto))
            flatness = measure_flatness(_say(lab, "flatness"), hublet, FEW_CONNECTED, arguments.connected)
    memory = memory_row(_say(lab, "memory"), arguments.connected)
    multiply_device(lab.installation.database, read_fleet(lab.hub_fleet)[0].device_id, arguments.devices)
    start = start_row(_say(lab, "start"), arguments.devices)
    return [*rows, onboarding, memory, start, *simulator], flatness


def _say(lab: Lab, what: str) -> Lab:
    print(f"measuring: {what}", file=sys.stderr, flush=True)
    return lab


if __name__ == "__main__":
    main()
