"""`hublet demo`: an emulator and 25 devices, from nothing to a renewed certificate, in one command."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from device_sim.credential import ClientCertificate
from device_sim.device import Device
from device_sim.errors import DeviceError
from device_sim.fleet import DeviceReport, Fleet, FleetPlan, FleetProgress, FleetReport
from device_sim.phases import Phase
from device_sim.settings import DeviceSettings
from emulator.bootstrap import open_dev_ca
from emulator.commands.options import CommandFailed, complain
from emulator.commands.remote import View, open_view
from emulator.listeners import Endpoints, read_endpoints
from emulator.state import StateDirectory

START_SECONDS = 30
STOP_SECONDS = 20
MESSAGES = 4


def demo(
    devices: Annotated[int, typer.Option("--devices", min=1, max=1000, help="How many devices to onboard.")] = 25,
) -> None:
    """Start an emulator on free ports, onboard devices with CSRs, send telemetry, renew a certificate."""
    console = Console(highlight=False)
    with complain(), tempfile.TemporaryDirectory(prefix="hublet-demo-") as directory:
        state = StateDirectory(Path(directory) / "state")
        with _emulator(state, Path(directory)) as endpoints, open_view(state.path) as view:
            console.print(f"emulator ready: MQTT on {endpoints.mqtt_port}, HTTPS on {endpoints.https_port}")
            asyncio.run(_run(console, state, view, devices))
    console.print(f"[bold green]ok[/]: {devices} devices onboarded, heard, and one certificate renewed")


async def _run(console: Console, state: StateDirectory, view: View, devices: int) -> None:
    authority = open_dev_ca(state.path)
    assert authority is not None, "an emulator without configuration has a development CA"
    credentials = [_onboarding(authority, f"demo-{number:03}") for number in range(1, devices + 1)]
    fleet = Fleet(_settings(view), credentials, FleetPlan(messages=MESSAGES, stay_connected=True))
    try:
        report = await _onboard(console, fleet)
        _require_success(report)
        renewed = await _renew(fleet.devices[0])
        console.print(_table(fleet, report))
        console.print(renewed)
    finally:
        await fleet.close()
    _require_events(view, devices * MESSAGES + 1)


async def _onboard(console: Console, fleet: Fleet) -> FleetReport:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("onboarding", total=len(fleet.devices))

        def show(now: FleetProgress) -> None:
            progress.update(task, completed=now.succeeded + now.failed, description=_describe(now))

        return await fleet.run(show)


def _describe(progress: FleetProgress) -> str:
    failed = f", [red]{progress.failed} failed[/]" if progress.failed else ""
    return f"onboarding: {progress.under_way} under way{failed}"


async def _renew(device: Device) -> str:
    before = device.certificate
    try:
        after = await device.renew()
        await device.connect()
        await device.send_telemetry(b'{"renewed": true}')
    except DeviceError as error:
        raise CommandFailed(f"{device.registration_id}: renewal failed: {error}") from error
    assert before is not None, "an onboarded device has a certificate"
    if before.leaf.serial_number == after.leaf.serial_number:
        raise CommandFailed(f"{device.registration_id}: renewal brought the same certificate again")
    return (
        f"{device.registration_id} renewed {_serial(before)} by {_serial(after)} "
        f"in {device.phases.seconds[Phase.RENEWAL] * 1000:.0f} ms and connected with it"
    )


def _require_success(report: FleetReport) -> None:
    failed = [each for each in report.devices if each.failure]
    if failed:
        lines = "\n".join(f"  {each.registration_id}: {each.failure}: {each.detail}" for each in failed)
        raise CommandFailed(f"{len(failed)} of {len(report.devices)} devices failed:\n{lines}")


def _require_events(view: View, expected: int) -> None:
    found = len(view.events({}, None).events)
    if found != expected:
        raise CommandFailed(f"the hub has {found} events, {expected} were acknowledged")


def _table(fleet: Fleet, report: FleetReport) -> Table:
    table = Table(
        title=f"{len(report.devices)} devices in {report.elapsed_seconds:.1f} s",
        caption="ms to connect to DPS, register, be assigned, connect to the hub, send a message",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        header_style="bold underline",
    )
    for name in ("device", "hub", "serial", "expires"):
        table.add_column(name, no_wrap=True)
    for name in ("DPS", "reg.", "assign", "hub", "msg"):
        table.add_column(name, justify="right", no_wrap=True)
    reports = {each.registration_id: each for each in report.devices}
    for device in fleet.devices:
        table.add_row(*_row(device, reports[device.registration_id]))
    return table


def _row(device: Device, report: DeviceReport) -> list[str]:
    certificate = device.certificate
    assert certificate is not None, "an onboarded device has a certificate"
    seconds = report.seconds
    phases = (
        seconds[Phase.DPS_TLS] + seconds[Phase.DPS_CONNACK] + seconds[Phase.DPS_SUBACK],
        seconds[Phase.REGISTER],
        seconds[Phase.POLLS],
        seconds[Phase.HUB_TLS] + seconds[Phase.HUB_CONNACK],
        seconds[Phase.FIRST_PUBACK],
    )
    expires = f"{certificate.leaf.not_valid_after_utc:%Y-%m-%d}"
    times = (f"{each * 1000:.0f}" for each in phases)
    return [report.registration_id, report.hub, _serial(certificate), expires, *times]


def _serial(certificate: ClientCertificate) -> str:
    """The beginning of the serial number, as `openssl x509 -serial` prints it."""
    return f"{certificate.leaf.serial_number:040X}"[:10] + "…"


def _onboarding(authority: CertificateAuthority, registration_id: str) -> ClientCertificate:
    key = generate_key(KeyType.P256)
    leaf = authority.issue_onboarding(registration_id, key.public_key(), datetime.now(UTC), validity=timedelta(days=1))
    return ClientCertificate((leaf, authority.certificate), key)


def _settings(view: View) -> DeviceSettings:
    information = view.information()
    port = information["ports"]["mqtt"]
    return DeviceSettings(information["idScope"], "localhost", port, port, ca_file=Path(information["serverCaFile"]))


@contextmanager
def _emulator(state: StateDirectory, directory: Path) -> Iterator[Endpoints]:
    """Run an emulator of its own, in a process of its own, on free ports."""
    wait_file, log = directory / "ready.json", directory / "emulator.log"
    ports = ["--mqtt-port", "0", "--https-port", "0", "--control-port", "0"]
    command = [sys.executable, "-m", "emulator", "up", "--state-dir", str(state.path), "--wait-file", str(wait_file)]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *ports], stdout=output, stderr=output)
    try:
        yield _wait_ready(process, wait_file, log)
    finally:
        process.terminate()
        code = process.wait(STOP_SECONDS)
    if code != 0:
        raise CommandFailed(f"the emulator ended with exit code {code}:\n{_tail(log)}")


def _wait_ready(process: "subprocess.Popen[bytes]", wait_file: Path, log: Path) -> Endpoints:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        endpoints = read_endpoints(wait_file)
        if endpoints is not None:
            return endpoints
        if process.poll() is not None:
            raise CommandFailed(f"the emulator did not start:\n{_tail(log)}")
        time.sleep(0.02)
    raise CommandFailed(f"the emulator was not ready within {START_SECONDS} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
