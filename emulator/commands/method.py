"""`hublet method`: direct methods of a device."""

import json
from typing import Annotated

import typer

from emulator.commands.hub_client import HUB, HubClient, parse_json_argument
from emulator.commands.options import STATE_DIRECTORY, complain

method = typer.Typer(help="Direct methods of a device.", no_args_is_help=True)


@method.callback()
def _group() -> None:
    """Keep `invoke` a word of its own."""


@method.command()
def invoke(
    device_id: Annotated[str, typer.Argument(help="The device.")],
    name: Annotated[str, typer.Argument(help="The method.")],
    state_dir: STATE_DIRECTORY,
    payload: Annotated[str | None, typer.Argument(help="JSON; none without it.")] = None,
    module: Annotated[str | None, typer.Option("--module", help="Call a module of the device.")] = None,
    timeout: Annotated[int, typer.Option("--timeout", help="Seconds for the answer.", min=5, max=300)] = 30,
    connect_timeout: Annotated[int, typer.Option("--connect-timeout", help="Seconds to wait for it.", min=0)] = 0,
    hub: HUB = None,
) -> None:
    """Call a method and print status and payload of the device's answer as JSON."""
    with complain():
        document = {
            "methodName": name,
            "responseTimeoutInSeconds": timeout,
            "connectTimeoutInSeconds": connect_timeout,
        }
        if payload is not None:
            document["payload"] = parse_json_argument("PAYLOAD", payload)
        path = [device_id] if module is None else [device_id, "modules", module]
        answer = HubClient(state_dir, hub).ask("POST", "twins", *path, "methods", document=document)
        typer.echo(json.dumps(answer))
