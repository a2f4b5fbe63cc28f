"""`hublet device`: one simulated device, against this emulator or any other endpoint, real Azure included."""

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from certs.keys import KeyType, generate_key
from device_sim.certificate_store import DirectoryStore
from device_sim.credential import ClientCertificate, OnboardingCredential, SymmetricKey
from device_sim.device import Device
from device_sim.dialer import Dialer, read_trust_anchors, system_now
from device_sim.errors import CertificateMismatch, DeviceError
from device_sim.shared_clock import ClockUnreachable, SharedClock
from emulator.bootstrap import open_dev_ca
from emulator.commands.endpoint import find_endpoint
from emulator.commands.options import STATE_DIRECTORY, CommandFailed, complain
from emulator.commands.registration_id import require_common_name, require_registration_id
from emulator.logs import configure_logging
from emulator.state import StateDirectory

device = typer.Typer(help="One simulated device.", no_args_is_help=True)

ONBOARDING_VALIDITY = timedelta(days=365)


@device.callback()
def _group() -> None:
    """Keep `onboard` a word of its own."""


def _option(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, **more)


KEY_VARIABLE = "PROVISIONING_SYMMETRIC_KEY"


@device.command()
def onboard(
    state_dir: STATE_DIRECTORY,
    registration_id: Annotated[str | None, _option("Needed unless a certificate says it.")] = None,
    directory: Annotated[Path | None, _option("The device's memory: key (mode 0600), chain, assignment.")] = None,
    host: Annotated[str | None, _option("DPS host.", show_default="the local emulator")] = None,
    id_scope: Annotated[str | None, _option("Of the DPS.", show_default="the local emulator's")] = None,
    port: Annotated[int | None, _option("MQTT port of DPS and hub.", show_default="8883")] = None,
    ca_file: Annotated[
        Path | None, _option("Trust anchors, PEM.", show_default="the local emulator's or the system's")
    ] = None,
    certificate: Annotated[Path | None, _option("Onboarding chain, PEM, leaf first.")] = None,
    key: Annotated[Path | None, _option("The onboarding certificate's private key, PEM.")] = None,
    symmetric_key: Annotated[str | None, _option("The device's own key, base64.", envvar=KEY_VARIABLE)] = None,
    group_key: Annotated[str | None, _option("An enrollment group's key, to derive from.")] = None,
    csr: Annotated[bool, _option("Ask for an operational certificate.", "--csr/--no-csr")] = True,
    key_type: Annotated[KeyType, _option("Of the operational key.")] = KeyType.P256,
    messages: Annotated[int, _option("Telemetry messages to send.", min=0)] = 1,
    renew: Annotated[bool, _option("Renew the certificate and connect with the new one.", "--renew")] = False,
    live: Annotated[bool, _option("Go on: telemetry, renewal at 80 % of the lifetime.", "--live")] = False,
    interval: Annotated[float, _option("Seconds between messages of --live.", min=0.01)] = 5,
    clock: Annotated[
        str | None, _option("URL of the clock to live by; without it the local emulator's, else the machine's.")
    ] = None,
    verbose: Annotated[bool, _option("Log more.", "--verbose", "-v")] = False,
) -> None:
    """Provision a device, connect with the certificate it was issued, and send telemetry.

    Without --host it is a device of the emulator that runs on the state directory, and without a credential that
    emulator's development CA gives it one. A device that was onboarded before (--directory) connects straight away.
    """
    configure_logging(verbose=verbose)
    with complain():
        endpoint = find_endpoint(state_dir, host, id_scope, port, ca_file)
        settings = replace(endpoint.settings, request_certificate=csr, key_type=key_type)
        url = clock or endpoint.clock_url
        try:
            shared = SharedClock.open(url) if url is not None else None
        except ClockUnreachable as error:
            raise CommandFailed(str(error)) from error
        now = shared.now if shared is not None else system_now
        credential = _credential(
            state_dir, registration_id, certificate, key, symmetric_key, group_key, now, local=not host
        )
        home = directory or Path("devices") / credential.registration_id
        one = Device(settings, credential, DirectoryStore(home), _dialer(settings.ca_file), now=now)
        try:
            asyncio.run(_live_one(one, shared, home, messages, interval, renew=renew, live=live))
        except DeviceError as error:
            raise CommandFailed(f"{credential.registration_id}: {error}") from error
        except KeyboardInterrupt:
            raise typer.Exit from None


async def _live_one(
    one: Device, clock: SharedClock | None, home: Path, messages: int, interval: float, *, renew: bool, live: bool
) -> None:
    async with clock.following() if clock is not None else nullcontext():
        await _connect_and_send(one, home, messages, interval, renew=renew, live=live)


async def _connect_and_send(
    one: Device, home: Path, messages: int, interval: float, *, renew: bool, live: bool
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    session = await one.connect()
    try:
        console.print(f"connected to {session.assignment.hub} as {session.assignment.device_id}")
        _show_certificate(console, one.certificate)
        for number in range(messages):
            await one.send_telemetry(_body(number))
        console.print(f"{messages} message{'' if messages == 1 else 's'} sent and acknowledged; memory in {home}")
        if renew:
            await one.renew()
            await one.connect()
            console.print("renewed, and connected again with the new certificate")
            _show_certificate(console, one.certificate)
        if live:
            numbers = iter(range(messages, 1 << 62))
            await one.live(lambda: _body(next(numbers)), interval)
    finally:
        await one.close()


def _body(number: int) -> bytes:
    return json.dumps({"number": number, "sentAt": datetime.now(UTC).isoformat()}).encode()


def _show_certificate(console: Console, certificate: ClientCertificate | None) -> None:
    if certificate is not None:
        leaf = certificate.leaf
        console.print(f"certificate {leaf.serial_number:x}, valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def _credential(
    state_dir: Path, registration_id: str | None, certificate: Path | None, key: Path | None,
    symmetric_key: str | None, group_key: str | None, now: Callable[[], datetime], *, local: bool,
) -> OnboardingCredential:  # fmt: skip
    if certificate is not None or key is not None:
        if certificate is None or key is None:
            raise CommandFailed("--certificate and --key go together")
        return _given_certificate(registration_id, certificate, key)
    if registration_id is None:
        raise CommandFailed("--registration-id is needed: no certificate says it")
    require_registration_id(registration_id)
    if symmetric_key is not None or group_key is not None:
        return _symmetric_key(registration_id, symmetric_key, group_key)
    if not local:
        raise CommandFailed("a credential is needed: --certificate and --key, --symmetric-key or --group-key")
    return _dev_certificate(state_dir, require_common_name(registration_id), now())


def _given_certificate(registration_id: str | None, certificate: Path, key: Path) -> ClientCertificate:
    try:
        credential = ClientCertificate.read(certificate, key)
        name = credential.registration_id
    except (CertificateMismatch, ValueError) as error:
        raise CommandFailed(f"--certificate {certificate} with --key {key}: {error}") from error
    if registration_id not in (None, name):
        raise CommandFailed(
            f"--registration-id {registration_id!r} is not the common name of {certificate}, which is {name!r}: "
            "DPS takes the registration ID from there"
        )
    require_registration_id(name)
    return credential


def _symmetric_key(registration_id: str, symmetric_key: str | None, group_key: str | None) -> SymmetricKey:
    option = "--symmetric-key" if symmetric_key is not None else "--group-key"
    try:
        if symmetric_key is not None:
            return SymmetricKey(registration_id, symmetric_key)
        return SymmetricKey.of_group(group_key or "", registration_id)
    except ValueError as error:
        raise CommandFailed(f"{option}: {error}") from error


def _dialer(ca_file: Path | None) -> Dialer:
    try:
        return Dialer(read_trust_anchors(ca_file))
    except ValueError as error:
        raise CommandFailed(f"--ca-file: {error}") from error


def _dev_certificate(state_dir: Path, registration_id: str, now: datetime) -> ClientCertificate:
    authority = open_dev_ca(StateDirectory(state_dir).path)
    if authority is None:
        raise CommandFailed(f"{state_dir} holds no development CA: give the device a credential")
    own = generate_key(KeyType.P256)
    leaf = authority.issue_onboarding(registration_id, own.public_key(), now, validity=ONBOARDING_VALIDITY)
    return ClientCertificate((leaf, authority.certificate), own)
