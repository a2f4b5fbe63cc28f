"""One run of a fleet from the command line: prepared, watched, ended in order, and reported."""

import asyncio
import signal
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from certs.keyfile import write_atomic
from device_sim.dialer import system_now
from device_sim.engine import Engine
from device_sim.file_limit import TooManyDevices, raise_file_limit
from device_sim.live_view import LiveView, show_summary
from device_sim.metrics import start_metrics_server
from device_sim.recorder import Recorder
from device_sim.report.writer import ReportUnavailable, require_report, write_report
from device_sim.scenario import Scenario
from device_sim.shared_clock import SharedClock
from device_sim.summary import Summary
from device_sim.summary_json import format_summary
from device_sim.thresholds import check_thresholds
from emulator.commands.endpoint import Endpoint
from emulator.commands.fleet_preparation import prepare
from emulator.commands.options import EXIT_FAILED, EXIT_UNUSABLE, CommandFailed, complain

EXIT_INTERRUPTED = 128 + signal.SIGINT
STANDARD_OUTPUT = Path("-")
VERSIONED = ("hublet", "cryptography", "pyOpenSSL")


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is wanted beside the terminal: the summary as JSON, a report, metrics while it runs."""

    json_file: Path | None = None
    report: Path | None = None
    metrics_port: int | None = None

    def open_console(self) -> Console:
        """Give the console for people: standard error when standard output is for the JSON."""
        return Console(highlight=False, stderr=self.json_file == STANDARD_OUTPUT)

    def check(self) -> None:
        """Find out before a run whether its results can be written.

        Raises:
            CommandFailed: they cannot.
            OSError: the directory of the report cannot be made.
        """
        if self.json_file is not None and not self.json_file.parent.is_dir():
            raise CommandFailed(f"--json: there is no directory {self.json_file.parent}")
        if self.report is not None:
            try:
                require_report()
            except ReportUnavailable as error:
                raise CommandFailed(str(error)) from error
            self.report.mkdir(parents=True, exist_ok=True)

    def write(self, summary: Summary, console: Console) -> None:
        """Write what is wanted.

        Raises:
            OSError: a file cannot be written.
        """
        if self.json_file == STANDARD_OUTPUT:
            sys.stdout.write(format_summary(summary) + "\n")
        elif self.json_file is not None:
            write_atomic(self.json_file, format_summary(summary).encode() + b"\n")
        if self.report is not None:
            console.print(f"report: {write_report(summary, self.report)}", soft_wrap=True)


def run_fleet(scenario: Scenario, endpoint: Endpoint, outputs: Outputs) -> int:
    """Prepare and run a fleet, show and write what it came to, and return the exit code.

    Raises:
        OSError: the results could not be written.
        typer.Exit: it cannot begin, which is said and has an exit code of its own.
    """
    console, recorder = outputs.open_console(), Recorder()
    with complain(EXIT_UNUSABLE):
        begun = _begin(scenario, endpoint, outputs, recorder, console)
    if begun is None:
        return EXIT_INTERRUPTED
    engine, clock = begun
    view = LiveView(recorder, scenario.devices, scenario.name, console)
    interrupted = asyncio.run(_run(engine, clock, recorder, view, outputs.metrics_port, console))
    summary = recorder.summary(scenario.to_yaml(), {name: version(name) for name in VERSIONED})
    verdicts = check_thresholds(scenario.thresholds, summary.snapshot)
    summary = replace(summary, verdicts=verdicts, stopped_by=engine.stopped_by)
    show_summary(summary, console)
    outputs.write(summary, console)
    return EXIT_INTERRUPTED if interrupted else exit_code(summary)


def _begin(
    scenario: Scenario, endpoint: Endpoint, outputs: Outputs, recorder: Recorder, console: Console
) -> tuple[Engine, SharedClock | None] | None:
    """Prepare a fleet and its engine; None when Ctrl-C came first.

    Raises:
        CommandFailed: it cannot run, or its results could not be written.
        OSError: a file cannot be read.
    """
    outputs.check()
    try:
        raise_file_limit(scenario.devices)
    except TooManyDevices as error:
        raise CommandFailed(str(error)) from error
    console.print(_headline(scenario, endpoint), soft_wrap=True)
    try:
        prepared = prepare(scenario, endpoint, console)
    except KeyboardInterrupt:
        console.print("interrupted before the run began")
        return None
    try:
        clock = SharedClock.open(endpoint.clock_url) if endpoint.clock_url is not None else None
        engine = Engine(
            scenario,
            endpoint.settings,
            prepared.credentials.__getitem__,
            recorder,
            keys=prepared.keys.key,
            now=clock.now if clock is not None else system_now,
        )
    except ValueError as error:
        raise CommandFailed(f"{endpoint.settings.ca_file} holds no certificate in PEM") from error
    return engine, clock


def exit_code(summary: Summary) -> int:
    """Give 0 if every threshold was met, or without thresholds if nothing failed; else 1."""
    if summary.verdicts:
        return 0 if all(verdict.passed for verdict in summary.verdicts) else EXIT_FAILED
    return EXIT_FAILED if summary.snapshot.error_count else 0


def _headline(scenario: Scenario, endpoint: Endpoint) -> str:
    settings = endpoint.settings
    what = f": {scenario.description}" if scenario.description else ""
    return (
        f"[bold]{escape(scenario.name)}[/]{escape(what)}\n"
        f"{scenario.devices:,} devices, DPS {settings.dps_host}:{settings.dps_port}, ID scope {settings.id_scope}"
    )


async def _run(
    engine: Engine, clock: SharedClock | None, recorder: Recorder, view: LiveView, metrics_port: int | None,
    console: Console,
) -> bool:  # fmt: skip
    async with clock.following(moved=engine.follow_clock) if clock is not None else nullcontext():
        return await _run_measured(engine, recorder, view, metrics_port, console)


async def _run_measured(
    engine: Engine, recorder: Recorder, view: LiveView, metrics_port: int | None, console: Console
) -> bool:
    if metrics_port is None:
        return await _watch(engine, view, console)
    with complain(EXIT_UNUSABLE):
        server = await start_metrics_server(recorder, metrics_port)
    console.print(f"metrics: http://127.0.0.1:{server.port}/metrics")
    try:
        return await _watch(engine, view, console)
    finally:
        await server.close()


async def _watch(engine: Engine, view: LiveView, console: Console) -> bool:
    """Let a fleet run, and tell whether it was interrupted: the first signal ends it in order, the second at once."""
    interrupted = False
    running = asyncio.ensure_future(engine.run())

    def interrupt() -> None:
        nonlocal interrupted
        if interrupted:
            running.cancel()
            return
        interrupted = True
        console.print("interrupted: the devices leave in order (once more: at once)")
        engine.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    with view, suppress(asyncio.CancelledError):
        await running
    return interrupted
