"""`hublet quota`: hold devices to the documented limits, or see where they would be throttled."""

import json
from typing import Annotated, Any

import typer

from emulator.commands.control_client import ControlClient
from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.faults.quota import QuotaMode, Tier

quota = typer.Typer(help="The documented limits of DPS and hubs.", no_args_is_help=True)

JSON = Annotated[bool, typer.Option("--json", help="For machines.")]


@quota.command()
def report(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """Show what went beyond which limit."""
    with complain():
        _show(ControlClient(state_dir).ask("GET", "/quota"), as_json=as_json)


@quota.command()
def mode(
    name: Annotated[QuotaMode, typer.Argument(help="off, report (only count) or enforce.")],
    state_dir: STATE_DIRECTORY,
    tier: Annotated[Tier | None, typer.Option(help="Size of the hubs.")] = None,
    units: Annotated[int | None, typer.Option(help="How many units a hub has.")] = None,
) -> None:
    """Set the mode; the counts begin anew."""
    document: dict[str, object] = {"mode": name.value}
    if tier is not None:
        document["tier"] = tier.value
    if units is not None:
        document["units"] = units
    with complain():
        _show(ControlClient(state_dir).ask("POST", "/quota", document), as_json=False)


def _show(found: Any, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
        return
    units = f"{found['units']} unit{'' if found['units'] == 1 else 's'}"
    typer.echo(f"quota {found['mode']}, hubs of tier {found['tier']} with {units}")
    for each in found["limits"]:
        scope = " for each device" if each["perDevice"] else ""
        over = (
            f"{each['over']} over it, longest wait {each['longestWaitSeconds']:g} s" if each["over"] else "none over it"
        )
        typer.echo(f"{each['service']}: {each['limit']} ({each['perSecond']:g} /s{scope}): {each['requests']}, {over}")
        for device in each["devices"]:
            typer.echo(f"  {device['deviceId']}: {device['over']}")
