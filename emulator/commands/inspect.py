"""`hublet info`, `env` and `hosts`: how to connect to the emulator."""

import json
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.commands.remote import open_view
from emulator.commands.welcome import show_welcome


def info(
    state_dir: STATE_DIRECTORY,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show hosts, ports, ID scope, CA file, enrollments and keys."""
    with complain(), open_view(state_dir) as view:
        information = view.information()
        if as_json:
            typer.echo(json.dumps(information, indent=2))
        else:
            show_welcome(information)


def env(state_dir: STATE_DIRECTORY) -> None:
    """Print shell exports: `eval "$(hublet env)"`; the first names are those of Azure's own SDK samples."""
    with complain(), open_view(state_dir) as view:
        for name, value in _variables(view.information()).items():
            typer.echo(f"export {name}={shlex.quote(value)}")


def _variables(information: Mapping[str, Any]) -> dict[str, str]:
    first = information["provisioningServices"][0] if information["provisioningServices"] else None
    variables = {"HUBLET_CA_FILE": information["serverCaFile"] or ""}
    if first is not None:
        variables |= {"PROVISIONING_HOST": first["hostNames"][0], "PROVISIONING_IDSCOPE": first["idScope"]}
    if information["hubs"]:
        variables["IOTHUB_CONNECTION_STRING"] = information["hubs"][0]["connectionString"]
    for name, port in (information["ports"] or {}).items():
        variables[f"HUBLET_{name.upper()}_PORT"] = str(port)
    return variables


def hosts(state_dir: STATE_DIRECTORY) -> None:
    """Print the lines that a hosts file needs for the configured host names."""
    with complain(), open_view(state_dir) as view:
        names = [name for name in view.information()["hostNames"] if name != "localhost"]
        if not names:
            typer.echo("# every host is localhost: nothing to add")
        for name in names:
            typer.echo(f"127.0.0.1 {name}")
