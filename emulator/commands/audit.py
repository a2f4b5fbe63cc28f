"""`hublet audit`: what happened to credentials: issued, renewed, refused, expired, revoked, rotated."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from adr.audit import AuditKind
from emulator.commands.events import FOLLOW_SECONDS
from emulator.commands.options import STATE_DIRECTORY, complain
from emulator.commands.remote import open_view

STYLES = {AuditKind.REFUSED: "red", AuditKind.EXPIRED: "red", AuditKind.REVOKED: "yellow", AuditKind.FAULT: "magenta"}


def audit(
    state_dir: STATE_DIRECTORY,
    device: Annotated[str | None, typer.Option("--device", help="Only this device's events.")] = None,
    kind: Annotated[
        list[AuditKind] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only this kind; may be repeated: {', '.join(AuditKind)}."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with events as they come.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the audit trail, oldest first: the last 200,000 refusals, and as many events of all other kinds."""
    # Ctrl-C is how one stops following, wherever it comes.
    with complain(), suppress(KeyboardInterrupt), open_view(state_dir) as view:
        console = Console(highlight=False, soft_wrap=True)
        positions: Mapping[str, int] = {}
        while True:
            page = view.audit(positions, device, kind or [])
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
    kind = AuditKind(event["kind"])
    line = Text()
    line.append(str(event["time"])[:19].replace("T", " "), style="dim")
    line.append(f"  {kind.value:8}", style=STYLES.get(kind, "green"))
    for name, style in (("service", "cyan"), ("deviceId", "bold"), ("serialNumber", "dim")):
        if name in event:
            line.append(f"  {event[name]}", style=style)
    line.append(f"  {event.get('reason', '')}")
    if "source" in event:
        line.append(f"  from {event['source']}", style="dim")
    return line
