"""`hublet reset`: throw the emulator's state away."""

from typing import Annotated

import typer

from emulator.commands.options import STATE_DIRECTORY, CommandFailed, complain
from emulator.lockfile import LockFile
from emulator.state import StateDirectory


def reset(
    state_dir: STATE_DIRECTORY,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the state: namespaces, CAs, enrollments, devices, events. Devices have to onboard anew."""
    with complain():
        state = StateDirectory(state_dir)
        if not state.exists and not state.has_keys:
            raise CommandFailed(f"{state.path} holds no hublet state: nothing to reset")
        # Held, it proves that no process runs on it; the database may be damaged, which is a reason to be here.
        lock = LockFile(state.lock_file)
        try:
            if not yes:
                typer.confirm(f"Delete {state.path.resolve()} with every CA key, device and event in it?", abort=True)
            is_gone = state.remove()
        finally:
            lock.release()
        what = f"{state.path}" if is_gone else f"the state in {state.path}"
        rest = "" if is_gone else " Files that are not hublet's stay there."
        typer.echo(f"{what} is gone; the next `hublet up` starts anew.{rest}")
