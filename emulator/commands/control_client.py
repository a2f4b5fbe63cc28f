"""Asks the running emulator's control API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.commands.options import CommandFailed
from emulator.state import StateDirectory

ANSWER_SECONDS = 30


class ControlClient:
    """The control API of the emulator that runs on a state directory.

    Raises:
        CommandFailed: none runs there.
    """

    def __init__(self, state_dir: Path) -> None:
        endpoints = StateDirectory(state_dir).running()
        if endpoints is None:
            raise CommandFailed(f"no emulator runs on {state_dir}: start it with `hublet up`")
        self._base = f"http://127.0.0.1:{endpoints.control_port}"

    def ask(
        self, method: str, path: str, document: Mapping[str, object] | None = None, *, segment: str | None = None
    ) -> Any:
        """Make a request and return the JSON that is answered, None for nothing; `segment` ends the path as it is.

        Raises:
            CommandFailed: the emulator refused, or does not answer.
        """
        url = self._base + path + ("" if segment is None else f"/{urllib.parse.quote(segment, safe='')}")
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                found = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise CommandFailed(_refusal(error)) from error
        except urllib.error.URLError as error:
            raise CommandFailed(f"the running emulator does not answer at {self._base}: {error.reason}") from error
        return json.loads(found) if found else None


def _refusal(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text or f"the emulator answered {error.code} {error.reason}"
