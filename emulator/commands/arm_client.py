"""Asks the management API of the running emulator, through its control port."""

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from emulator.commands.options import CommandFailed
from emulator.state import StateDirectory

NAMESPACE = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]
JSON = Annotated[bool, typer.Option("--json", help="For machines: the resource as the API has it.")]
# The first generation of the model: a policy with its issuing CA is one resource there.
API_VERSION: Final = "2026-03-01-preview"
SCOPE: Final = "/subscriptions/local/resourceGroups/local/providers/Microsoft.DeviceRegistry"
ANSWER_SECONDS: Final = 30


class ArmClient:
    """The management API of the emulator that runs on a state directory.

    Raises:
        CommandFailed: none runs there.
    """

    def __init__(self, state_dir: Path) -> None:
        endpoints = StateDirectory(state_dir).running()
        if endpoints is None:
            raise CommandFailed(f"no emulator runs on {state_dir}: start it with `hublet up`")
        self._base = f"http://127.0.0.1:{endpoints.control_port}"

    def ask(self, method: str, *path: str, document: Any = None) -> Any:
        """Make a request, path segments as they are, and return the JSON that is answered, None for nothing.

        Raises:
            CommandFailed: it was refused, or nobody answers.
        """
        quoted = "/".join(urllib.parse.quote(segment, safe="") for segment in path)
        return self._ask(method, f"{self._base}{SCOPE}/{quoted}?api-version={API_VERSION}", document)

    def every(self, *path: str) -> list[dict[str, Any]]:
        """Read a list to its end.

        Raises:
            CommandFailed: it was refused, or nobody answers.
        """
        answer = self.ask("GET", *path)
        found: list[dict[str, Any]] = answer["value"]
        while "nextLink" in answer:
            answer = self._ask("GET", answer["nextLink"], None)
            found += answer["value"]
        return found

    def _ask(self, method: str, url: str, document: Any) -> Any:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(url, body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                found = answer.read()
        except urllib.error.HTTPError as error:
            raise CommandFailed(json.loads(error.read())["error"]["message"]) from error
        except urllib.error.URLError as error:
            raise CommandFailed(f"the running emulator does not answer at {self._base}: {error.reason}") from error
        return json.loads(found) if found else None
