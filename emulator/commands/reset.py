"""`hublet reset`: throw the emulator's state away."""

import shutil
from typing import Annotated

import typer

from emulator.commands.options import STATE_DIRECTORY, CommandFailed, complain
from emulator.state import StateDirectory
from emulator.store import SqliteStore


def reset(
    state_dir: STATE_DIRECTORY,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the state: namespaces, CAs, enrollments, devices, events. Devices have to onboard anew."""
    with complain():
        state = StateDirectory(state_dir)
        if not state.exists:
            raise CommandFailed(f"{state.path} holds no hublet state: nothing to reset")
        # Opening it proves that it is ours and that no process runs on it.
        SqliteStore(state.database).close()
        if not yes:
            typer.confirm(f"Delete {state.path.resolve()} with every CA key, device and event in it?", abort=True)
        shutil.rmtree(state.path)
        typer.echo(f"{state.path} is gone; the next `hublet up` starts anew.")
