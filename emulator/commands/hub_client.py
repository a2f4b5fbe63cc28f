"""Asks one hub of the running emulator, through its control API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from emulator.commands.options import CommandFailed
from emulator.state import StateDirectory

HUB = Annotated[str | None, typer.Option("--hub", help="Name of the hub; without it the first.")]
# A method call may take 300 seconds.
ANSWER_SECONDS = 310


class HubClient:
    """One hub of the emulator that runs on a state directory.

    Raises:
        CommandFailed: none runs there.
    """

    def __init__(self, state_dir: Path, hub: str | None) -> None:
        endpoints = StateDirectory(state_dir).running()
        if endpoints is None:
            raise CommandFailed(f"no emulator runs on {state_dir}: start it with `hublet up`")
        self._base = f"http://127.0.0.1:{endpoints.control_port}"
        self._hub = hub or str(self._ask("GET", "/info")["hubs"][0]["name"])

    def ask(self, method: str, *path: str, document: Any = None) -> Any:
        """Make a request, path segments as they are, and return the JSON that is answered, None for nothing.

        Raises:
            CommandFailed: the hub refused, or does not answer.
        """
        quoted = "/".join(urllib.parse.quote(segment, safe="") for segment in ("hubs", self._hub, *path))
        return self._ask(method, f"/{quoted}", document)

    def _ask(self, method: str, path: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self._base}{path}", body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                found = answer.read()
        except urllib.error.HTTPError as error:
            raise CommandFailed(_explain(error.read())) from error
        except urllib.error.URLError as error:
            raise CommandFailed(f"the running emulator does not answer at {self._base}: {error.reason}") from error
        return json.loads(found) if found else None


def parse_json_argument(name: str, text: str) -> Any:
    """Read an argument that is JSON.

    Raises:
        CommandFailed: it is not.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"{name} is not JSON: {error}") from error


def _explain(body: bytes) -> str:
    """Find the message in whichever envelope an error came."""
    document: Any = json.loads(body)
    message = document.get("Message", document.get("message", ""))
    if message.startswith("{"):
        message = json.loads(message)["message"]
    return str(message.removeprefix("ErrorCode:").replace(";", ": ", 1))
