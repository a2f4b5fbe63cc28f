"""`hublet twin`: the twin of a device."""

import json
from typing import Annotated, Any

import typer

from emulator.commands.hub_client import HUB, HubClient, parse_json_argument
from emulator.commands.options import STATE_DIRECTORY, CommandFailed, complain

twin = typer.Typer(help="The twin of a device.", no_args_is_help=True)

DEVICE = Annotated[str, typer.Argument(help="The device.")]
MODULE = Annotated[str | None, typer.Option("--module", help="The twin of a module of the device.")]


@twin.command()
def show(device_id: DEVICE, state_dir: STATE_DIRECTORY, module: MODULE = None, hub: HUB = None) -> None:
    """Print a twin as services see it."""
    with complain():
        _print(HubClient(state_dir, hub).ask("GET", "twins", *_path(device_id, module)))


@twin.command()
def update(
    device_id: DEVICE,
    state_dir: STATE_DIRECTORY,
    desired: Annotated[str | None, typer.Option("--desired", help="JSON object; null deletes a member.")] = None,
    tags: Annotated[str | None, typer.Option("--tags", help="JSON object; null deletes a member.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace both wholly instead of merging.")] = False,
    module: MODULE = None,
    hub: HUB = None,
) -> None:
    """Change desired properties and tags, tell the device if it is there, and print the twin."""
    with complain():
        if desired is None and tags is None and not replace:
            raise CommandFailed("nothing to do: give --desired, --tags or both")
        document: dict[str, Any] = {}
        if tags is not None:
            document["tags"] = parse_json_argument("--tags", tags)
        if desired is not None:
            document["properties"] = {"desired": parse_json_argument("--desired", desired)}
        verb = "PUT" if replace else "PATCH"
        _print(HubClient(state_dir, hub).ask(verb, "twins", *_path(device_id, module), document=document))


def _path(device_id: str, module: str | None) -> list[str]:
    return [device_id] if module is None else [device_id, "modules", module]


def _print(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2))
