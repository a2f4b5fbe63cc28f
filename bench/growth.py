"""How costs grow with the number of connected devices: `python -m bench.growth`.

At each size 200 more devices come at once, send, and leave, three times: what counts is the CPU of hublet's process
and of the simulator's, for each device onboarded and for each message. Prints a table, and draws it.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.fleet import make_onboarding_fleet, write_fleet
from bench.generator_process import GeneratorProcess
from bench.growth_figures import Cost, Growth
from bench.growth_plot import draw
from bench.hublet import ID_SCOPE, Installation
from bench.machine import describe_machine
from bench.server import Server, Target, allow_many_files, process_resident_bytes
from bench.spread import Spread

SIZES = (100, 500, 1_000, 2_500, 5_000, 10_000, 19_000)
COMING = 200
MESSAGES_EACH = 100
MICROSECONDS = 1e6
MEGABYTE = 1e6


class Experiment:
    """One hublet, one simulator, and the devices that have come so far."""

    def __init__(self, server: Server, target: Target, fleet: GeneratorProcess, rounds: int) -> None:
        self._server = server
        self._target = target
        self._fleet = fleet
        self._rounds = rounds
        self._connected = 0
        self._next = 0

    def begin(self, fleet_file: Path) -> None:
        """Read the devices, and warm both processes up."""
        self._fleet.do("read", self._target, fleet=fleet_file, id_scope=ID_SCOPE)
        self._round()

    def at(self, connected: int) -> Growth:
        """Let the fleet grow to a size, and measure there."""
        missing = connected - self._connected
        self._fleet.do("grow", first=self._take(missing), devices=missing)
        self._connected = connected
        hublet, simulator = self._resident()
        rounds = [self._round() for _ in range(self._rounds)]
        present = self._fleet.do("check").count
        if present != connected:
            raise RuntimeError(f"{connected - present} of {connected} devices have lost their connections")
        (onboarding, message) = (
            Cost(Spread.of(each[what][0] for each in rounds), Spread.of(each[what][1] for each in rounds))
            for what in (0, 1)
        )
        return Growth(connected, onboarding, message, hublet, simulator)

    def _round(self) -> tuple[tuple[float, float], tuple[float, float]]:
        plan = {"devices": COMING, "messages": MESSAGES_EACH}
        onboarding = self._cost("come", first=self._take(COMING), **plan)
        message = self._cost("send", **plan)
        self._fleet.do("go")
        return onboarding, message

    def _cost(self, load: str, **arguments: Any) -> tuple[float, float]:
        before = self._server.settled_cpu_seconds()
        done = self._fleet.do(load, **arguments)
        spent = self._server.settled_cpu_seconds() - before
        return spent / done.count * MICROSECONDS, done.cpu_seconds / done.count * MICROSECONDS

    def _take(self, count: int) -> int:
        first, self._next = self._next, self._next + count
        return first

    def _resident(self) -> tuple[float, float]:
        """Return MB (of 1,000,000 bytes) of hublet and of the simulator."""
        return self._server.resident_bytes() / MEGABYTE, process_resident_bytes(self._fleet.pid) / MEGABYTE


def main() -> None:
    """Measure each size, print the table, draw the plot."""
    arguments = _arguments()
    allow_many_files()
    print(describe_machine(), flush=True)
    sizes = [size for size in SIZES if size <= arguments.most]
    measured = []
    with tempfile.TemporaryDirectory(prefix="hublet-growth-") as name:
        directory = Path(name)
        onboarding = make_onboarding_fleet(sizes[-1] + COMING * (len(sizes) * arguments.rounds + 1))
        write_fleet(directory / "onboarding.json", onboarding)
        installation = Installation.create(directory / "hublet", onboarding[0].issuing_ca)
        server, target = installation.start()
        with server, GeneratorProcess(directory / "fleet.log", "bench.growing_fleet") as fleet:
            experiment = Experiment(server, target, fleet, arguments.rounds)
            experiment.begin(directory / "onboarding.json")
            for size in sizes:
                measured.append(experiment.at(size))
                print(format_line(measured[-1]), file=sys.stderr, flush=True)
            fleet.do("leave")
    print(f"\n{format_growth(measured)}")
    if arguments.plot is not None:
        arguments.plot.write_text(draw(measured), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="Costs by connected devices.")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest number of connected devices [19000]")
    parser.add_argument("--rounds", type=int, default=3, help="rounds at each size [3]")
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    return parser.parse_args()


HEADER = (
    "| connected | hublet, µs per device onboarded | simulator | ratio | hublet, µs per message | simulator "
    "| hublet, MB | simulator |\n|---|---|---|---|---|---|---|---|"
)


def format_growth(measured: list[Growth]) -> str:
    """Write the measurements as a Markdown table."""
    return "\n".join([HEADER, *(format_line(each) for each in measured)])


def format_line(each: Growth) -> str:
    """Write one row."""
    onboarding, message = each.onboarding, each.message
    ratio = onboarding.simulator.median / onboarding.hublet.median
    cells = (
        f"{each.connected:,}",
        onboarding.hublet.text(),
        onboarding.simulator.text(),
        f"{ratio:.2f}",
        message.hublet.text(),
        message.simulator.text(),
        f"{each.hublet_megabytes:.0f}",
        f"{each.simulator_megabytes:.0f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
