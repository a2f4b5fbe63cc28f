"""What the rows share: the servers that run side by side, the generator, and how a load's cost is taken."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from bench.fleet import make_onboarding_fleet, write_fleet
from bench.generator_process import Done, GeneratorProcess
from bench.hublet import ID_SCOPE, Installation
from bench.mosquitto import find_mosquitto, start_mosquitto
from bench.server import Server, Target

IN_FLIGHT = 20
MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Slice:
    """Some devices of a fleet: `devices` of them, from number `first` on."""

    first: int
    devices: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A server, and where it listens."""

    server: Server
    target: Target


@dataclass(frozen=True, slots=True)
class Lab:
    """A run's directory, its generator, hublet's installation, and the fleets.

    `onboarding_fleet` holds certificates to onboard with, `hub_fleet` what the first `onboarded` devices were issued.
    """

    directory: Path
    generator: GeneratorProcess
    installation: Installation
    onboarding_fleet: Path
    hub_fleet: Path
    onboarded: int
    rounds: int

    @contextlib.contextmanager
    def hublet(self) -> Iterator[Measured]:
        """Run hublet on the run's state."""
        server, target = self.installation.start()
        with server:
            yield Measured(server, target)

    @contextlib.contextmanager
    def mosquitto(self, clients_root: x509.Certificate) -> Iterator[Measured | None]:
        """Run mosquitto; None when it is not installed."""
        program = find_mosquitto()
        if program is None:
            yield None
            return
        server, target = start_mosquitto(program, self.directory / "mosquitto", clients_root)
        with server:
            yield Measured(server, target)

    @contextlib.contextmanager
    def simulator(self, hublet: Measured) -> Iterator[GeneratorProcess]:
        """Run the simulator's engine in a process of its own; its devices are those of the onboarding fleet."""
        with GeneratorProcess(self.directory / "simulator.log", "bench.growing_fleet") as fleet:
            fleet.do("read", hublet.target, fleet=self.onboarding_fleet, id_scope=ID_SCOPE)
            yield fleet

    def cost(self, measured: Measured, load: str, **arguments: Any) -> tuple[float, Done]:
        """Return the server's CPU in µs for each thing the load did."""
        before = measured.server.settled_cpu_seconds()
        done = self.generator.do(load, measured.target, **arguments)
        spent = measured.server.settled_cpu_seconds() - before
        return spent / done.count * MICROSECONDS, done

    def connect_cost(self, measured: Measured, slice_: Slice, *, tls: str, connects: int) -> float:
        """Return µs for each connection that comes and goes; the devices of the slice take turns."""
        cost, _ = self.cost(
            measured,
            "come_and_go",
            fleet=self.hub_fleet,
            **asdict(slice_),
            tls=tls,
            connects=connects,
            in_flight=IN_FLIGHT,
        )
        return cost

    def message_cost(self, measured: Measured, slice_: Slice, *, messages: int) -> float:
        """Return µs for each QoS 1 message, one in flight for each device of the slice."""
        self.generator.do(
            "prepare_messages",
            measured.target,
            fleet=self.hub_fleet,
            **asdict(slice_),
            messages=messages,
            in_flight=IN_FLIGHT,
        )
        cost, _ = self.cost(measured, "send_messages")
        self.generator.do("check_messages")
        return cost

    def open_idle(self, measured: Measured, slice_: Slice) -> None:
        """Connect the devices of the slice, which then say nothing until `close_idle`."""
        self.generator.do("open_idle", measured.target, fleet=self.hub_fleet, **asdict(slice_), in_flight=IN_FLIGHT)

    def close_idle(self) -> None:
        """Let the silent devices leave."""
        self.generator.do("close_idle")


@contextlib.contextmanager
def open_lab(directory: Path, *, onboarded: int, more: int, rounds: int) -> Iterator[Lab]:
    """Make onboarding certificates for `onboarded` and `more` devices, hublet's configuration and the generator."""
    onboarding = make_onboarding_fleet(onboarded + more)
    write_fleet(directory / "onboarding.json", onboarding)
    installation = Installation.create(directory / "hublet", onboarding[0].issuing_ca)
    with GeneratorProcess(directory / "generator.log") as generator:
        yield Lab(
            directory,
            generator,
            installation,
            directory / "onboarding.json",
            directory / "devices.json",
            onboarded,
            rounds,
        )
