"""`hublet clock`: see the emulator's time and move it, so that a month of renewals passes in seconds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.commands.remote import open_view

clock = typer.Typer(help="The emulator's time: certificates, tokens and deadlines follow it.", no_args_is_help=True)

JSON = Annotated[bool, typer.Option("--json", help="For machines.")]


@clock.command()
def show(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """Show how the clock stands."""
    with complain(), open_view(state_dir) as view:
        _show(view.clock(), as_json=as_json)


@clock.command()
def advance(
    state_dir: STATE_DIRECTORY,
    duration: Annotated[str, typer.Argument(help="Such as 90s, 12h, 30d or 1w2d.")],
    as_json: JSON = False,
) -> None:
    """Move the clock forward."""
    _change(state_dir, {"advance": duration}, as_json=as_json)


@clock.command("set")
def set_(
    state_dir: STATE_DIRECTORY,
    moment: Annotated[str, typer.Argument(help="Such as 2027-01-01T00:00:00Z, or a date for UTC midnight.")],
    as_json: JSON = False,
) -> None:
    """Move the clock to a moment, forward or back."""
    _change(state_dir, {"set": moment}, as_json=as_json)


@clock.command()
def freeze(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """Make time stand still."""
    _change(state_dir, {"freeze": True}, as_json=as_json)


@clock.command()
def resume(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """Let time run on from where it stands."""
    _change(state_dir, {"resume": True}, as_json=as_json)


@clock.command()
def reset(state_dir: STATE_DIRECTORY, as_json: JSON = False) -> None:
    """Return to the machine's time."""
    _change(state_dir, {"reset": True}, as_json=as_json)


def _change(state_dir: Path, change: Mapping[str, object], *, as_json: bool) -> None:
    with complain(), open_view(state_dir) as view:
        _show(view.change_clock(change), as_json=as_json)


def _show(state: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(state))
        return
    ahead = f", {state['offset']} from the machine's time" if state["offset"] != "0s" else ", the machine's time"
    typer.echo(f"{state['now'][:19]}Z{ahead}{', frozen' if state['frozen'] else ''}")
    for warning in state.get("warnings", ()):
        typer.echo(f"warning: {warning}", err=True)
