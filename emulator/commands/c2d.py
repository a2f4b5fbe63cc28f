"""`hublet c2d`: messages from the cloud to a device."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from emulator.commands.hub_client import HUB, HubClient
from emulator.commands.options import STATE_DIRECTORY, CommandFailed, complain
from hub.c2d_message import Ack

c2d = typer.Typer(help="Messages from the cloud to a device.", no_args_is_help=True)


@c2d.callback()
def _group() -> None:
    """Keep `send` a word of its own."""


@c2d.command()
def send(
    device_id: Annotated[str, typer.Argument(help="The device.")],
    state_dir: STATE_DIRECTORY,
    body: Annotated[str, typer.Argument(help="The message's text.")] = "",
    file: Annotated[Path | None, typer.Option("--file", help="Send this file's bytes instead.")] = None,
    properties: Annotated[list[str] | None, typer.Option("--property", help="NAME=VALUE; may come often.")] = None,
    message_id: Annotated[str | None, typer.Option("--message-id", help="Named in the feedback.")] = None,
    correlation_id: Annotated[str | None, typer.Option("--correlation-id", help="What it belongs to.")] = None,
    content_type: Annotated[str | None, typer.Option("--content-type", help="Such as application/json.")] = None,
    content_encoding: Annotated[str | None, typer.Option("--content-encoding", help="Such as utf-8.")] = None,
    expires: Annotated[float | None, typer.Option("--expires", help="Seconds it waits [3600].", min=1)] = None,
    ack: Annotated[Ack, typer.Option("--ack", help="Which ends to hear of in the feedback.")] = Ack.NONE,
    hub: HUB = None,
) -> None:
    """Send a message to a device, now or when it connects; print what was enqueued as JSON."""
    named = {
        "messageId": message_id,
        "correlationId": correlation_id,
        "contentType": content_type,
        "contentEncoding": content_encoding,
    }
    with complain():
        document: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        document |= {"ack": ack.value, "properties": dict(_property(text) for text in properties or ())}
        document |= {"body": body} if file is None else {"bodyBase64": base64.b64encode(file.read_bytes()).decode()}
        if expires is not None:
            document["expiryTimeUtc"] = (datetime.now(UTC) + timedelta(seconds=expires)).isoformat()
        sent = HubClient(state_dir, hub).ask("POST", "devices", device_id, "messages", document=document)
        typer.echo(json.dumps(sent))


def _property(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name:
        raise CommandFailed(f"--property {text!r} is not NAME=VALUE")
    return name, value if equals else None
