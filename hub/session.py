"""Sessions: what the hub remembers of a connection while it lasts, and of its subscriptions beyond it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adr.store import Store
from hub.event_log import EventSource


@dataclass(frozen=True, slots=True)
class HubSession:
    """One accepted connection of a device or module; `issuer` is the issuing CA of ADR it rests on (`Grant`)."""

    key: str
    device_id: str
    module_id: str | None
    session_present: bool
    expires_at: datetime | None
    clean_session: bool
    connection_id: str
    api_version: str
    telemetry_topic: str
    event_source: EventSource
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A granted filter: its QoS (0 or 1), and since when it is held without a break."""

    qos: int
    since: datetime


class Sessions:
    """The subscriptions of each session, in the store, by session key.

    A session with CleanSession 0 stays until its device is deleted; one with CleanSession 1 belongs to one
    connection, whose ID its record carries, and goes with it.
    """

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.sessions"
        self._key_prefix = f"{hub_name}/"

    def key(self, client_id: str) -> str:
        """The session key of a device (`{device}`) or module (`{device}/{module}`) of this hub."""
        return self._key_prefix + client_id

    def open(self, key: str, *, clean_session: bool) -> bool:
        """Begin a connection and tell whether it resumes a stored session (CONNACK's session-present).

        Source: MQTT 3.1.1 §3.2.2.2 (documented).
        """
        record = self._read(key)
        if clean_session:
            if record is not None:
                self._store.delete(self._table, self._row(key))
            return False
        if record is not None and record["connection"] is None:
            return True
        self._write(key, None, {})
        return False

    def subscriptions(self, key: str) -> dict[str, Subscription]:
        """The filters a session holds, connected or not."""
        record = self._read(key)
        return {name: _parse(value) for name, value in record["filters"].items()} if record else {}

    def subscribe(self, session: HubSession, granted: Iterable[tuple[str, int]], now: datetime, limit: int) -> bool:
        """Record granted filters; False, and nothing recorded, when the session would then hold more than `limit`.

        A filter held already keeps its time and takes the new QoS.
        """
        held = self.subscriptions(session.key)
        for topic_filter, qos in granted:
            since = held[topic_filter].since if topic_filter in held else now
            held[topic_filter] = Subscription(qos, since)
        if len(held) > limit:
            return False
        self._write(session.key, _owner(session), held)
        return True

    def unsubscribe(self, session: HubSession, topic_filters: Iterable[str]) -> None:
        """Forget filters; those not held are no error."""
        held = self.subscriptions(session.key)
        kept = {name: value for name, value in held.items() if name not in set(topic_filters)}
        if len(kept) != len(held):
            self._write(session.key, _owner(session), kept)

    def close(self, session: HubSession) -> None:
        """End a connection; what a newer connection has stored under the same key stays."""
        if not session.clean_session:
            return
        record = self._read(session.key)
        if record is not None and record["connection"] == session.connection_id:
            self._store.delete(self._table, self._row(session.key))

    def _row(self, key: str) -> str:
        return key.removeprefix(self._key_prefix)

    def _read(self, key: str) -> dict[str, Any] | None:
        record = self._store.get(self._table, self._row(key))
        return dict(json.loads(record.value)) if record else None

    def _write(self, key: str, connection_id: str | None, held: dict[str, Subscription]) -> None:
        filters = {name: [value.qos, value.since.isoformat()] for name, value in held.items()}
        self._store.put(self._table, self._row(key), json.dumps({"connection": connection_id, "filters": filters}))


def _owner(session: HubSession) -> str | None:
    return session.connection_id if session.clean_session else None


def _parse(value: tuple[int, str]) -> Subscription:
    return Subscription(value[0], datetime.fromisoformat(value[1]))
