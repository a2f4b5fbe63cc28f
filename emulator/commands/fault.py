"""`hublet fault`: let things go wrong on purpose, and see what a fleet makes of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emulator.commands.control_client import ControlClient
from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.faults.fault import FaultKind, Operation, Phase
from emulator.faults.profiles import Profile

fault = typer.Typer(help="Faults on purpose: what a device has to survive.", no_args_is_help=True)

JSON = Annotated[bool, typer.Option("--json", help="For machines.")]
STRUCK_SHOWN = 10


@fault.command()
def add(
    kind: Annotated[FaultKind, typer.Argument(help="What happens.")],
    state_dir: STATE_DIRECTORY,
    operation: Annotated[
        list[Operation] | None,
        typer.Option(
            metavar="OPERATION",
            help=f"To what; repeat it for more; without it all that the kind can strike: {', '.join(Operation)}.",
        ),
    ] = None,
    phase: Annotated[Phase | None, typer.Option(help="Before the service acts, or after; without it before.")] = None,
    device: Annotated[str | None, typer.Option(help="Device or registration IDs, a glob [*].")] = None,
    service: Annotated[str | None, typer.Option(help="Names of hubs or DPS, a glob [*].")] = None,
    enrollment: Annotated[
        str | None, typer.Option(help="Enrollments, a glob; for register, poll and issue [*].")
    ] = None,
    nth: Annotated[int | None, typer.Option(help="Only at the so-manieth occurrence of each device.")] = None,
    probability: Annotated[float | None, typer.Option(help="From 0 to 1 [1].")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the chances of a run repeat exactly [0].")] = None,
    limit: Annotated[int | None, typer.Option(help="How often at most, over all devices.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long something is delayed [5].")] = None,
    retry_after: Annotated[int | None, typer.Option(help="Seconds that a device is told to wait [3].")] = None,
    status: Annotated[int | None, typer.Option(help="Of a server error: 500 or 503 [500].")] = None,
    name: Annotated[str | None, typer.Option(help="To remove it by; without it fault-1 and so on.")] = None,
) -> None:
    """Set a fault in the running emulator, and print it."""
    members = {
        "name": name,
        "kind": kind.value,
        "operation": [each.value for each in operation] if operation else None,
        "phase": phase.value if phase is not None else None,
        "device": device,
        "service": service,
        "enrollment": enrollment,
        "nth": nth,
        "probability": probability,
        "seed": seed,
        "limit": limit,
        "seconds": seconds,
        "retryAfterSeconds": retry_after,
        "status": status,
    }
    document = {key: value for key, value in members.items() if value is not None}
    with complain():
        typer.echo(json.dumps(ControlClient(state_dir).ask("POST", "/faults", document)))


@fault.command("list")
def list_faults(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """List the faults, what struck last, and whether devices came again when they were told to."""
    with complain():
        _show(ControlClient(state_dir).ask("GET", "/faults"), as_json=as_json)


@fault.command()
def clear(
    state_dir: STATE_DIRECTORY,
    name: Annotated[str | None, typer.Argument(help="One fault; without it all, and the profile.")] = None,
) -> None:
    """Remove a fault, or all of them."""
    with complain():
        ControlClient(state_dir).ask("DELETE", "/faults", segment=name)


@fault.command()
def profile(
    name: Annotated[Profile, typer.Argument(help="off, mild (5 % of requests) or storm.")],
    state_dir: STATE_DIRECTORY,
    seed: Annotated[int | None, typer.Option(help="Makes a run repeat exactly.")] = None,
) -> None:
    """Set a whole set of faults; those that were added by themselves stay."""
    document = {"profile": name.value} | ({"seed": seed} if seed is not None else {})
    _change(state_dir, document)


@fault.command()
def message_properties(
    state_dir: STATE_DIRECTORY, on: Annotated[bool, typer.Option("--on/--off", help="Obey them or not.")] = True
) -> None:
    """Obey the application properties AzIoTHub_FaultOperationType and so on, or take them for any others."""
    _change(state_dir, {"messageProperties": on})


def _change(state_dir: Path, document: Mapping[str, object]) -> None:
    with complain():
        _show(ControlClient(state_dir).ask("POST", "/faults", document), as_json=False)


def _show(found: Any, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    properties = "on" if found["messageProperties"] else "off"
    typer.echo(f"profile {found['profile']}, seed {found['seed']}, message properties {properties}")
    for each in found["faults"]:
        if not each["struck"] and each["name"].startswith(f"{found['profile']}-"):
            continue  # a profile has dozens
        rest = " ".join(f"{key}={_text(value)}" for key, value in each.items() if key not in {"name", "kind", "struck"})
        typer.echo(f"{each['name']}: {each['kind']} {rest} (struck {each['struck']} times)")
    for each in found["recent"][-STRUCK_SHOWN:]:
        who = each["deviceId"] or "unknown"
        typer.echo(f"{each['time'][:19]} {who} {each['kind']} at {each['operation']} ({each['fault']})")
    retries = found["retries"]
    if retries["told"]:
        told, came, early = retries["told"], retries["came"], retries["tooEarly"]
        typer.echo(f"told to come again: {told}, came: {came}, too early: {early}")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
