"""Looks at an emulator's state, and changes it: through the process that runs on it, else in the files."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from adr.audit import AuditKind
from certs.keyfile import FileKeyStore
from emulator.audit import AuditPage, read_audit
from emulator.bootstrap import recall
from emulator.clock_control import ClockChangeRefused, ClockControl, read_clock
from emulator.commands.options import CommandFailed
from emulator.events import EventPage, read_events
from emulator.information import describe
from emulator.listeners import Endpoints
from emulator.state import StateDirectory
from emulator.store import SqliteStore
from emulator.uploaded_cas import UploadedCas, UploadRefused


class View(Protocol):
    """What the inspecting commands ask."""

    def information(self) -> Mapping[str, Any]:
        """How to connect, and what there is."""
        ...

    def events(self, positions: Mapping[str, int], device_id: str | None) -> EventPage:
        """The events after the given positions."""
        ...

    def audit(self, positions: Mapping[str, int], device_id: str | None, kinds: Sequence[AuditKind]) -> AuditPage:
        """The audit events after the given positions."""
        ...

    def clock(self) -> Mapping[str, Any]:
        """How the clock stands."""
        ...

    def change_clock(self, change: Mapping[str, object]) -> Mapping[str, Any]:
        """Change the clock, and tell how it stands then."""
        ...

    def uploads(self) -> Sequence[Mapping[str, Any]]:
        """The CA certificates uploaded to hubs and DPS."""
        ...

    def add_upload(self, service: str, name: str, pem: str, *, is_verified: bool) -> Mapping[str, Any]:
        """Upload a CA certificate."""
        ...

    def verify_upload(self, service: str, name: str, pem: str) -> Mapping[str, Any]:
        """Prove the possession of an uploaded CA."""
        ...

    def remove_upload(self, service: str, name: str) -> None:
        """Forget an uploaded CA certificate."""
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

    def audit(self, positions: Mapping[str, int], device_id: str | None, kinds: Sequence[AuditKind]) -> AuditPage:
        query = [("from", json.dumps(dict(positions))), *(("kind", kind.value) for kind in kinds)]
        answer = self._get("/audit", [*query, ("device", device_id)] if device_id else query)
        return AuditPage(tuple(answer["events"]), answer["positions"])

    def clock(self) -> Mapping[str, Any]:
        return self._get("/clock", {})

    def change_clock(self, change: Mapping[str, object]) -> Mapping[str, Any]:
        return self._send("POST", "/clock", change)

    def uploads(self) -> Sequence[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self._get("/ca-certificates", {})["caCertificates"]
        return found

    def add_upload(self, service: str, name: str, pem: str, *, is_verified: bool) -> Mapping[str, Any]:
        return self._send("PUT", _upload_path(service, name), {"certificate": pem, "isVerified": is_verified})

    def verify_upload(self, service: str, name: str, pem: str) -> Mapping[str, Any]:
        return self._send("POST", f"{_upload_path(service, name)}/verify", {"certificate": pem})

    def remove_upload(self, service: str, name: str) -> None:
        self._send("DELETE", _upload_path(service, name))

    def _get(self, path: str, query: Mapping[str, str] | Sequence[tuple[str, str]]) -> Mapping[str, Any]:
        return self._ask(urllib.request.Request(f"{self._base}{path}?{urllib.parse.urlencode(query)}"))

    def _send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Mapping[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(f"{self._base}{path}", data, headers, method=method))

    def _ask(self, request: urllib.request.Request) -> Mapping[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise CommandFailed(_refusal(error)) from error
        except urllib.error.URLError as error:
            raise CommandFailed(f"the running emulator does not answer at {self._base}: {error.reason}") from error
        found: dict[str, Any] = json.loads(body) if body else {}
        return found


class _StoredView:
    def __init__(self, state: StateDirectory, store: SqliteStore) -> None:
        self._resources = recall(store, FileKeyStore(state.keys), state.path)
        self._store = store
        self._clock = read_clock(store)
        self._trail = self._resources.adr.audit
        self._control = ClockControl(self._clock, store, self._trail, file=state.clock_file)
        self._uploads = UploadedCas(self._resources)

    def information(self) -> Mapping[str, Any]:
        return describe(self._resources, None)

    def events(self, positions: Mapping[str, int], device_id: str | None) -> EventPage:
        return read_events(self._resources.hubs, positions, device_id)

    def audit(self, positions: Mapping[str, int], device_id: str | None, kinds: Sequence[AuditKind]) -> AuditPage:
        return read_audit(self._trail, positions, device_id, kinds)

    def clock(self) -> Mapping[str, Any]:
        return self._control.describe()

    def change_clock(self, change: Mapping[str, object]) -> Mapping[str, Any]:
        try:
            return self._control.change(change)
        except ClockChangeRefused as error:
            raise CommandFailed(str(error)) from error

    def uploads(self) -> Sequence[Mapping[str, Any]]:
        return self._uploads.list()

    def add_upload(self, service: str, name: str, pem: str, *, is_verified: bool) -> Mapping[str, Any]:
        with self._committed():
            return self._uploads.add(service, name, pem, is_verified=is_verified)

    def verify_upload(self, service: str, name: str, pem: str) -> Mapping[str, Any]:
        with self._committed():
            return self._uploads.verify(service, name, pem, self._clock.now())

    def remove_upload(self, service: str, name: str) -> None:
        with self._committed():
            self._uploads.remove(service, name)

    @contextmanager
    def _committed(self) -> Iterator[None]:
        try:
            yield
        except UploadRefused as error:
            raise CommandFailed(str(error)) from error
        self._store.commit()


def _upload_path(service: str, name: str) -> str:
    return f"/ca-certificates/{urllib.parse.quote(service, safe='')}/{urllib.parse.quote(name, safe='')}"


def _refusal(error: urllib.error.HTTPError) -> str:
    """Take the reason out of an answer of the control API."""
    text = error.read().decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text or f"the emulator answered {error.code} {error.reason}"
