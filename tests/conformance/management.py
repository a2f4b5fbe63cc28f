"""The management API of the device registry, over HTTPS as ARM clients use it."""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.conformance.running_emulator import RunningEmulator

GROUP = "/subscriptions/s1/resourceGroups/g1"
FIRST, SECOND = "2026-03-01-preview", "2026-11-02-preview"


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    document: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The ARM code of a refusal."""
        return str(self.document["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.document["error"]["message"])


@dataclass(frozen=True)
class Management:
    """A client with a bearer token that nobody issued."""

    emulator: RunningEmulator
    api_version: str = FIRST
    token: str | None = "any"

    def ask(self, method: str, path: str, document: Any = None, *, raw: bytes | None = None) -> Reply:
        """Make a request to a path below the provider."""
        url = f"{GROUP}/providers/Microsoft.DeviceRegistry/{path}?api-version={self.api_version}"
        return self.ask_url(method, f"https://localhost:{self.emulator.https_port}{url}", document, raw=raw)

    def ask_url(self, method: str, url: str, document: Any = None, *, raw: bytes | None = None) -> Reply:
        """Make a request to a whole URL."""
        body = raw if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(url, body, headers, method=method)
        context = ssl.create_default_context(cafile=str(self.emulator.ca_file))
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return _reply(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return _reply(error.code, error.read(), dict(error.headers))

    def done(self, method: str, path: str, document: Any = None) -> Reply:
        """Make a request that has to succeed."""
        reply = self.ask(method, path, document)
        assert reply.status < 300, reply
        return reply


def _reply(status: int, body: bytes, headers: dict[str, str]) -> Reply:
    return Reply(status, json.loads(body) if body else None, {name.lower(): value for name, value in headers.items()})
