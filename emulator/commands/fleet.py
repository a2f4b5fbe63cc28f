"""`hublet fleet`: many simulated devices by a scenario, against this emulator or any other endpoint."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from certs.keys import KeyType
from device_sim.key_pool import KeyPoolError, generate_keys, read_key_pool, write_key_pool
from device_sim.scenario import Scenario, ScenarioError, preset, preset_names, preset_text
from device_sim.scenario_section import MAX_DEVICES
from emulator.commands.endpoint import find_endpoint
from emulator.commands.fleet_locust import locust
from emulator.commands.fleet_preparation import show_progress
from emulator.commands.fleet_run import Outputs, run_fleet
from emulator.commands.fleet_scenario import read_scenario
from emulator.commands.options import EXIT_UNUSABLE, STATE_DIRECTORY, CommandFailed, complain
from emulator.config import ConfigError
from emulator.logs import configure_logging

fleet = typer.Typer(help="Many simulated devices, by a scenario.", no_args_is_help=True)
fleet.command()(locust)


def _option(help_text: str, *names: str, panel: str = "Scenario", **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **more)


TARGET, OUTPUT = "Endpoint", "Output"


@fleet.command()
def run(
    state_dir: STATE_DIRECTORY,
    scenario: Annotated[str | None, typer.Argument(help="A scenario file (YAML) or a preset.")] = None,
    devices: Annotated[int | None, _option("How many.")] = None,
    rate: Annotated[float | None, _option("Arrivals a second, open loop.", show_default="all at once")] = None,
    messages: Annotated[int | None, _option("Telemetry messages of each device.")] = None,
    message_rate: Annotated[float | None, _option("Telemetry messages a second of each device.")] = None,
    duration: Annotated[float | None, _option("Seconds after which the run ends.")] = None,
    concurrency: Annotated[int | None, _option("How many may onboard at a time.")] = None,
    keys: Annotated[Path | None, _option("Pool of keys for CSRs (`hublet fleet keys`).")] = None,
    key_type: Annotated[KeyType | None, _option("Of the keys for CSRs, such as P-384.", metavar="TYPE")] = None,
    csr: Annotated[bool | None, _option("Ask for operational certificates.", "--csr/--no-csr")] = None,
    seed: Annotated[int | None, _option("Fixes every decision that is made at random.")] = None,
    threshold: Annotated[
        list[str] | None, _option("Such as 'p99.register < 1 s'; replace the file's.", metavar="TEXT")
    ] = None,
    settings: Annotated[
        list[str] | None, _option("Any setting, such as retry.attempts=1.", "--set", metavar="KEY=VALUE")
    ] = None,
    host: Annotated[str | None, _option("DPS host.", panel=TARGET, show_default="the local emulator")] = None,
    id_scope: Annotated[str | None, _option("Of the DPS.", panel=TARGET, show_default="the local emulator's")] = None,
    port: Annotated[int | None, _option("MQTT port of DPS and hub.", panel=TARGET, show_default="8883")] = None,
    ca_file: Annotated[
        Path | None, _option("Trust anchors, PEM.", panel=TARGET, show_default="the local emulator's or the system's")
    ] = None,
    json_file: Annotated[
        Path | None, _option("Write the summary as JSON; - is standard output.", "--json", panel=OUTPUT)
    ] = None,
    report: Annotated[Path | None, _option("Directory for report.html and summary.json.", panel=OUTPUT)] = None,
    metrics_port: Annotated[int | None, _option("Serve Prometheus metrics of the fleet.", panel=OUTPUT)] = None,
    verbose: Annotated[bool, _option("Log more.", "--verbose", "-v", panel=OUTPUT)] = False,
) -> None:
    """Run a fleet: onboard devices, let them work, count what happens, and compare with thresholds.

    What is not said has a default. Flags win over the file, --set over both.

    Exit code 0: all thresholds were met, or without any nothing failed.
    1: not so. 2: the scenario cannot be used, or the run cannot begin. 130: ended by Ctrl-C, with a report.
    """
    configure_logging(verbose=verbose)
    if not verbose:
        # What befalls a device is counted: thousands of lines would say less.
        logging.getLogger("device_sim").setLevel(logging.ERROR)
    flags = {
        "devices": devices,
        "arrival": None if rate is None else {"kind": "rate", "per_second": rate},
        "behaviour.telemetry.messages": messages,
        "behaviour.telemetry.messages_per_second": message_rate,
        "duration_seconds": duration,
        "concurrency": concurrency,
        "keys": None if keys is None else str(keys.absolute()),
        "key_type": None if key_type is None else key_type.value,
        "csr": csr,
        "seed": seed,
        "thresholds": threshold or None,
    }
    chosen = _read(scenario, {key: value for key, value in flags.items() if value is not None}, settings or [])
    with complain(EXIT_UNUSABLE):
        endpoint = find_endpoint(state_dir, host, id_scope, port, ca_file)
    with complain():
        code = run_fleet(chosen, endpoint, Outputs(json_file, report, metrics_port))
    raise typer.Exit(code)


@fleet.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Print this one, as a file to begin with.")] = None,
) -> None:
    """List the scenarios that come with hublet, or print one of them."""
    if name is not None:
        with complain():
            try:
                sys.stdout.write(preset_text(name))
            except ScenarioError as error:
                raise CommandFailed(str(error)) from error
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    table.add_column("preset", no_wrap=True)
    table.add_column("devices", justify="right")
    table.add_column("what happens")
    for each in preset_names():
        scenario = preset(each)
        table.add_row(each, f"{scenario.devices:,}", scenario.description)
    Console(highlight=False).print(table)


@fleet.command()
def keys(
    out: Annotated[Path, typer.Option("--out", help="File to write, mode 0600.")],
    count: Annotated[int, typer.Option("--count", min=1, max=MAX_DEVICES, help="How many.")],
    key_type: Annotated[KeyType, typer.Option("--type", help="Of the keys.")] = KeyType.P256,
) -> None:
    """Make a pool of private keys, so that making them is not what a run measures; one that is there is kept."""
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    with complain():
        if _is_enough(out, key_type, count):
            console.print(f"{out} is there already, with enough {key_type.value} keys", markup=False, soft_wrap=True)
            return
        try:
            with show_progress(console, f"{key_type.value} keys", count) as progress:
                write_key_pool(out, key_type, generate_keys(key_type, count, progress))
        except KeyboardInterrupt:
            raise CommandFailed(f"interrupted: {out} was not written") from None


def _is_enough(path: Path, key_type: KeyType, count: int) -> bool:
    """Tell whether a pool is there that will do; one that is too small is made anew, another file is left alone."""
    if not path.exists():
        return False
    try:
        pool = read_key_pool(path)
    except KeyPoolError as error:
        raise CommandFailed(f"{error}; it is not overwritten") from error
    if pool.key_type is not key_type:
        raise CommandFailed(f"{path} holds {pool.key_type.value} keys; it is not overwritten")
    return len(pool) >= count


def _read(name: str | None, flags: Mapping[str, Any], settings: list[str]) -> Scenario:
    try:
        return read_scenario(name, flags, settings)
    except ConfigError as error:
        sys.stderr.write(f"hublet: {error}\n")
        raise typer.Exit(EXIT_UNUSABLE) from None
