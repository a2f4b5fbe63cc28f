"""`hublet events`: read the telemetry that the hubs took."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.commands.remote import open_view
from emulator.events import EventPage

FOLLOW_SECONDS = 0.25


def events(
    state_dir: STATE_DIRECTORY,
    device: Annotated[str | None, typer.Option("--device", help="Only this device's events.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with events as they come.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show device-to-cloud events, oldest first."""
    # Ctrl-C is how one stops following, wherever it comes.
    with complain(), suppress(KeyboardInterrupt), open_view(state_dir) as view:
        console = Console(highlight=False, soft_wrap=True)
        positions: Mapping[str, int] = {}
        while True:
            page: EventPage = view.events(positions, device)
            for event in page.events:
                if as_json:
                    typer.echo(json.dumps(event))
                else:
                    console.print(_line(event))
            drained = page.positions == positions
            positions = page.positions
            if drained and not follow:
                return
            if drained:
                time.sleep(FOLLOW_SECONDS)


def _line(event: Mapping[str, Any]) -> Text:
    body = event.get("body", event.get("bodyBase64", ""))
    line = Text()
    line.append(str(event["enqueuedTime"])[:23].replace("T", " "), style="dim")
    line.append(f"  {event['hub']}/{event['partition']}#{event['sequenceNumber']}", style="cyan")
    line.append(f"  {event['deviceId']}", style="bold")
    for name, value in event["properties"].items():
        line.append(f"  {name}={value}" if value is not None else f"  {name}", style="green")
    line.append(f"  {body if isinstance(body, str) else json.dumps(body)}")
    return line
