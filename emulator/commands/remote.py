"""Looks at an emulator's state: through the process that runs on it, or, when none does, in the files."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from certs.keyfile import FileKeyStore
from emulator.bootstrap import recall
from emulator.commands.options import CommandFailed
from emulator.events import EventPage, read_events
from emulator.information import describe
from emulator.listeners import Endpoints
from emulator.state import StateDirectory
from emulator.store import SqliteStore


class View(Protocol):
    """What the inspecting commands ask."""

    def information(self) -> Mapping[str, Any]:
        """How to connect, and what there is."""
        ...

    def events(self, positions: Mapping[str, int], device_id: str | None) -> EventPage:
        """The events after the given positions."""
        ...


@contextmanager
def open_view(state_dir: Path) -> Iterator[View]:
    """Look at the state in a directory.

    Raises:
        CommandFailed: there is no state, or its process does not answer.
        StoreError: the state cannot be read.
    """
    state = StateDirectory(state_dir)
    if not state.exists:
        raise CommandFailed(f"{state.path} holds no hublet state: run `hublet up` first, or name another --state-dir")
    endpoints = state.running()
    if endpoints is not None:
        yield _RunningView(endpoints)
        return
    with SqliteStore(state.database) as store:
        yield _StoredView(state, store)


class _RunningView:
    def __init__(self, endpoints: Endpoints) -> None:
        self._base = f"http://127.0.0.1:{endpoints.control_port}"

    def information(self) -> Mapping[str, Any]:
        return self._get("/info", {})

    def events(self, positions: Mapping[str, int], device_id: str | None) -> EventPage:
        query = {"from": json.dumps(dict(positions)), **({"device": device_id} if device_id else {})}
        answer = self._get("/events", query)
        return EventPage(tuple(answer["events"]), answer["positions"])

    def _get(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        url = f"{self._base}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.URLError as error:
            raise CommandFailed(f"the running emulator does not answer at {self._base}: {error.reason}") from error
        return found


class _StoredView:
    def __init__(self, state: StateDirectory, store: SqliteStore) -> None:
        self._resources = recall(store, FileKeyStore(state.keys), state.path)

    def information(self) -> Mapping[str, Any]:
        return describe(self._resources, None)

    def events(self, positions: Mapping[str, int], device_id: str | None) -> EventPage:
        return read_events(self._resources.hubs, positions, device_id)
