"""The command line of hublet.

A command's module is imported when the command is called, or when all are listed: together they take a second.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

# The module below `emulator.commands` of each command, in the order of `hublet --help`. The module names the command
# (a function, or a Typer of several) as it is named here, with underscores.
MODULES = {
    "up": "up",
    "info": "inspect",
    "env": "inspect",
    "hosts": "inspect",
    "events": "events",
    "audit": "audit",
    "demo": "demo",
    "reset": "reset",
    "clock": "clock",
    "adr": "adr",
    "ca": "ca",
    "dev-ca": "dev_ca",
    "device": "device",
    "fleet": "fleet",
    "twin": "twin",
    "method": "method",
    "c2d": "c2d",
    "fault": "fault",
    "quota": "quota",
}


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        command = getattr(import_module(f"emulator.commands.{MODULES[name]}"), name.replace("-", "_"))
        if isinstance(command, typer.Typer):
            group = command
        else:
            group = typer.Typer(add_completion=False)
            group.command()(command)
        found = get_command(group)
        found.name = name
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class _Hublet(TyperGroup):
    """The group of all commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        commands: Any = _Commands()
        self.commands = commands


app = typer.Typer(
    name="hublet",
    cls=_Hublet,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def hublet() -> None:
    """Azure IoT Hub, Device Provisioning Service and certificate management on one laptop."""


def main() -> None:
    """Run the command that the process was called with."""
    app()
