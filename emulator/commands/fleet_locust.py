"""`hublet fleet locust`: a fleet over several processes or machines, on Locust's master and workers."""

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from device_sim.dialer import system_now
from device_sim.engine import Engine
from device_sim.file_limit import TooManyDevices, raise_file_limit
from device_sim.fleet_part import FleetPart
from device_sim.live_view import show_summary
from device_sim.scenario import Scenario
from device_sim.shared_clock import ClockUnreachable, SharedClock
from device_sim.thresholds import check_thresholds
from emulator.commands.endpoint import Endpoint, find_endpoint
from emulator.commands.fleet_preparation import prepare_part
from emulator.commands.fleet_run import EXIT_INTERRUPTED, VERSIONED, Outputs, exit_code
from emulator.commands.fleet_scenario import read_scenario
from emulator.commands.options import EXIT_UNUSABLE, STATE_DIRECTORY, CommandFailed, complain
from emulator.config import ConfigError
from emulator.logs import configure_logging

if TYPE_CHECKING:
    from device_sim.locust_worker import PreparedPart
    from device_sim.request_rows import RowRecorder

LOCUST_PORT = 5557
MISSING = "Locust is not installed ({}): pip install 'hublet[locust]'"


def locust(
    scenario: Annotated[str, typer.Argument(help="A scenario file (YAML) or a preset, the same everywhere.")],
    state_dir: STATE_DIRECTORY,
    master: Annotated[
        bool, typer.Option("--master", help="Give the workers their parts, and judge the whole.")
    ] = False,
    worker: Annotated[bool, typer.Option("--worker", help="Run a part.")] = False,
    expect_workers: Annotated[int, typer.Option(min=1, help="Master: how many parts there are.")] = 1,
    bind: Annotated[str, typer.Option(help="Master: address for the workers; * for all (no authentication!).")] = (
        "127.0.0.1"
    ),
    master_host: Annotated[str, typer.Option(help="Worker: where the master is.")] = "127.0.0.1",
    master_port: Annotated[int, typer.Option(help="Of the master.")] = LOCUST_PORT,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, the same everywhere.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Master: the whole summary; - is stdout.")] = None,
    report: Annotated[Path | None, typer.Option(help="Master: directory for report.html and summary.json.")] = None,
    host: Annotated[str | None, typer.Option(help="Worker: DPS host.", show_default="the local emulator")] = None,
    id_scope: Annotated[str | None, typer.Option(help="Worker: of the DPS.", show_default="the local one's")] = None,
    port: Annotated[int | None, typer.Option(help="Worker: MQTT port of DPS and hub.", show_default="8883")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Worker: trust anchors, PEM.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run a fleet on Locust: one process with --master --expect-workers N, and N with --worker --master-host M.

    Each worker runs its part of the devices; thresholds and conditions to stop are for the whole, on the master.

    Exit code of the master: as of `fleet run`; a lost worker is an error.
    """
    if master == worker:
        raise typer.BadParameter("say either --master or --worker")
    configure_logging(verbose=verbose)
    if not verbose:
        logging.getLogger("device_sim").setLevel(logging.ERROR)
    chosen = _read(scenario, settings or [])
    with complain():
        if master:
            place = _Place(bind, master_port)
            code = run_master(chosen, expect_workers, place, Outputs(json_file, report))
        else:
            endpoint = find_endpoint(state_dir, host, id_scope, port, ca_file)
            code = run_worker(chosen, endpoint, _Place(master_host, master_port))
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the master listens."""

    host: str
    port: int


def run_master(scenario: Scenario, workers: int, place: _Place, outputs: Outputs) -> int:
    """Run a fleet on workers, show and write what it came to, and return the exit code.

    Raises:
        CommandFailed: it cannot run, or its results could not be written.
        OSError: a file cannot be written.
    """
    with complain(EXIT_UNUSABLE):
        if scenario.devices < workers:
            raise CommandFailed(f"{scenario.devices} devices cannot be divided among {workers} workers")
        outputs.check()
    try:
        from device_sim.locust_fleet import LocustFleetError  # noqa: PLC0415 - an extra
        from device_sim.locust_master import Master  # noqa: PLC0415
    except ImportError as error:
        raise CommandFailed(MISSING.format(error.name)) from error
    console = outputs.open_console()
    fleet = Master(scenario, workers, partial(console.print, soft_wrap=True))
    interrupts = _on_interrupt(fleet.leave)
    try:
        summary = fleet.run(place.host, place.port)
    except LocustFleetError as error:
        if interrupts:
            return EXIT_INTERRUPTED
        raise CommandFailed(str(error)) from error
    summary = replace(
        summary,
        scenario_text=scenario.to_yaml(),
        versions={name: version(name) for name in (*VERSIONED, "locust")},
        verdicts=check_thresholds(scenario.thresholds, summary.snapshot),
    )
    console.print(fleet.rows(), soft_wrap=True)
    show_summary(summary, console)
    outputs.write(summary, console)
    return EXIT_INTERRUPTED if interrupts else exit_code(summary)


def run_worker(scenario: Scenario, endpoint: Endpoint, place: _Place) -> int:
    """Run the part that a master gives, and return the exit code.

    Raises:
        CommandFailed: there is no master, or the part could not be prepared or run.
    """
    try:
        from device_sim.locust_fleet import LocustFleetError  # noqa: PLC0415 - an extra
        from device_sim.locust_worker import Worker  # noqa: PLC0415
    except ImportError as error:
        raise CommandFailed(MISSING.format(error.name)) from error
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    fleet = Worker(scenario, partial(_prepare, scenario, endpoint, console))
    interrupts = _on_interrupt(fleet.leave)
    try:
        fleet.serve(place.host, place.port)
    except ConnectionError as error:
        raise CommandFailed(f"no master answers at {place.host}:{place.port}") from error
    except LocustFleetError as error:
        raise CommandFailed(str(error)) from error
    return EXIT_INTERRUPTED if interrupts else 0


def _prepare(
    scenario: Scenario, endpoint: Endpoint, console: Console, part: FleetPart, recorder: "RowRecorder"
) -> "PreparedPart":
    """Prepare a part of a fleet; its devices keep the numbers that they have in the whole."""
    from device_sim.locust_worker import PreparedPart  # noqa: PLC0415 - an extra

    own, first = part.scenario(scenario), part.first_device(scenario.devices)
    try:
        raise_file_limit(own.devices)
        clock = SharedClock.open(endpoint.clock_url) if endpoint.clock_url is not None else None
    except (ClockUnreachable, TooManyDevices) as error:
        raise CommandFailed(str(error)) from error
    prepared = prepare_part(scenario, part, endpoint, console)
    engine = Engine(
        own,
        endpoint.settings,
        lambda device: prepared.credentials[device - first],
        recorder,
        keys=prepared.keys.key,
        first_device=first,
        now=clock.now if clock is not None else system_now,
    )
    return PreparedPart(engine, clock)


def _on_interrupt(leave: Callable[[], None]) -> list[int]:
    """Let devices leave in order at the first signal; the list that is given gets every signal."""
    from gevent import signal_handler  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

    received: list[int] = []

    def hear(number: int) -> None:
        received.append(number)
        leave()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal_handler(number, hear, number)
    return received


def _read(name: str, settings: list[str]) -> Scenario:
    try:
        return read_scenario(name, {}, settings)
    except ConfigError as error:
        typer.echo(f"hublet: {error}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
