"""What a fleet needs before its clock starts: an onboarding credential for each device, and keys for their CSRs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from certs.keys import KeyType
from device_sim.credential import OnboardingCredential
from device_sim.credentials import (
    CredentialsError,
    OnboardingCa,
    derive_keys,
    issue_certificates,
    read_individual_keys,
    read_onboarding_ca,
)
from device_sim.duration import format_seconds
from device_sim.fleet_part import FleetPart
from device_sim.key_pool import DeviceKey, FleetKeys, KeyPool, KeyPoolError, generate_keys, parse_key, read_key_pool
from device_sim.scenario import Scenario
from device_sim.scenario_credential import DevelopmentCa, GivenCa, GroupKey, IndividualKeys
from device_sim.scenario_faults import is_hit
from device_sim.shared_clock import ClockUnreachable
from device_sim.signing_request import MAX_COMMON_NAME_LENGTH
from emulator.commands.endpoint import Endpoint
from emulator.commands.options import CommandFailed


@dataclass(frozen=True, slots=True)
class Prepared:
    """The credentials of a fleet's devices, in their order, and the keys that they will ask certificates for."""

    credentials: Sequence[OnboardingCredential]
    keys: FleetKeys


def prepare(scenario: Scenario, endpoint: Endpoint, console: Console) -> Prepared:
    """Make or read everything that takes time and is not to be measured.

    Raises:
        CommandFailed: a file does not hold what it should, or the endpoint has not what the scenario takes from it.
        OSError: a file cannot be read.
    """
    return prepare_part(scenario, FleetPart(0, 1), endpoint, console)


def prepare_part(scenario: Scenario, part: FleetPart, endpoint: Endpoint, console: Console) -> Prepared:
    """Do the same for a part of a fleet; its credentials are counted from its first device, keys from the fleet's.

    Raises:
        CommandFailed, OSError: as `prepare` does.
    """
    first, devices = part.first_device(scenario.devices), part.devices(scenario.devices)
    try:
        credentials = _credentials(scenario, range(first, first + devices), endpoint, console)
        pool = _pool(scenario, [each.registration_id for each in credentials], first, console)
    except (ClockUnreachable, CredentialsError, KeyPoolError) as error:
        raise CommandFailed(str(error)) from error
    return Prepared(credentials, FleetKeys(pool, scenario.devices, partial(_is_reused, scenario)))


@contextmanager
def show_progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a preparation is, and in the end one line that says how long it took."""
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda made: progress.update(task, completed=made)
    console.print(f"{what}: {total:,} in {format_seconds(time.monotonic() - began)}")


def _credentials(
    scenario: Scenario, devices: range, endpoint: Endpoint, console: Console
) -> Sequence[OnboardingCredential]:
    credential = scenario.credential
    names = [scenario.registration_id(device) for device in devices]
    match credential:
        case IndividualKeys():
            return read_individual_keys(credential.file, devices.stop)[devices.start :]
        case GroupKey():
            return derive_keys(_group_key(credential, endpoint), names)
        case GivenCa():
            ca = read_onboarding_ca(credential.certificate, credential.key)
        case DevelopmentCa():
            ca = OnboardingCa(endpoint.dev_ca())
    with show_progress(console, "onboarding certificates", len(names)) as progress:
        return issue_certificates(
            ca,
            names,
            credential.onboarding_key_type,
            timedelta(days=credential.validity_days),
            endpoint.clock()(),
            progress=progress,
        )


def _group_key(credential: GroupKey, endpoint: Endpoint) -> str:
    if credential.key is not None:
        return credential.key.get_secret_value()
    if credential.key_file is not None:
        return credential.key_file.read_text(encoding="ascii", errors="replace").strip()
    return endpoint.group_key()


def _pool(scenario: Scenario, registration_ids: Sequence[str], first: int, console: Console) -> KeyPool:
    if not scenario.csr:
        return KeyPool(scenario.key_type)
    _require_common_names(registration_ids)
    if scenario.keys is None:
        pool = _new_pool(scenario.key_type, range(first, first + len(registration_ids)), console)
    else:
        pool = _kept_pool(scenario.keys, scenario, console)
    return pool.for_devices(registration_ids, first)


def _require_common_names(registration_ids: Sequence[str]) -> None:
    """Refuse what no certificate can carry before keys are made for it, which may take minutes."""
    too_long = next((each for each in registration_ids if len(each) > MAX_COMMON_NAME_LENGTH), None)
    if too_long is not None:
        raise CommandFailed(
            f"{too_long!r} has {len(too_long)} characters: a certificate is issued for at most "
            f"{MAX_COMMON_NAME_LENGTH} (csr: false asks for none)"
        )


def _kept_pool(path: Path, scenario: Scenario, console: Console) -> KeyPool:
    pool = _read_pool(path, scenario, console)
    if pool.key_type is not scenario.key_type:
        raise KeyPoolError(f"{path} holds {pool.key_type.value} keys, the scenario wants {scenario.key_type.value}")
    if len(pool) < scenario.devices:
        console.print(
            f"{path} holds {len(pool):,} keys for {scenario.devices:,} devices: the others' are made while it runs",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    return pool


def _new_pool(key_type: KeyType, devices: range, console: Console) -> KeyPool:
    with show_progress(console, "keys for CSRs", len(devices)) as progress:
        made = [DeviceKey.prepared(parse_key(key)) for key in generate_keys(key_type, len(devices), progress)]
    return KeyPool(key_type, made, first=devices.start)


def _read_pool(path: Path, scenario: Scenario, console: Console) -> KeyPool:
    generations = 2 if scenario.behaviour.renewal is not None else 1
    began = time.monotonic()
    pool = read_key_pool(path, scenario.devices * generations)
    console.print(f"keys for CSRs: {len(pool):,} read in {format_seconds(time.monotonic() - began)}")
    return pool


def _is_reused(scenario: Scenario, device: int) -> bool:
    return is_hit("key_reuse", scenario.device_faults.key_reuse, device, scenario.seed)
