"""The twins of one hub, in the store: one for each device and module, there as soon as the identity is."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from adr.store import Store
from hub.errors import PreconditionFailed
from hub.twin import Twin, TwinChange
from hub.twin_json import format_twin_record, parse_twin_record


class Twins:
    """Twins by client ID: `{device}`, or `{device}/{module}`; one that was never written takes no place."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.twins"

    def get(self, client_id: str) -> Twin:
        """Read the twin of an identity that exists."""
        record = self._store.get(self._table, client_id)
        return parse_twin_record(record.value) if record else Twin()

    def change(self, client_id: str, change: TwinChange, now: datetime, *, etag: str | None = None) -> Twin:
        """Write tags and desired properties; `etag` None writes whatever is there.

        Raises:
            ArgumentInvalid: a rule about keys, values or sizes is broken; nothing is changed.
            PreconditionFailed: `etag` is not the twin's.
        """
        present = self.get(client_id)
        if etag is not None and etag != present.etag:
            raise PreconditionFailed(f"ETag {etag!r} of the twin of {client_id} is not the present {present.etag!r}")
        return self._put(client_id, present.changed(change, now))

    def report(
        self, client_id: str, patch: Mapping[str, Any], now: datetime, *, expected_version: int | None = None
    ) -> Twin:
        """Write reported properties.

        Raises:
            ArgumentInvalid: a rule about keys, values or sizes is broken; nothing is changed.
            PreconditionFailed: `expected_version` is not the present one.
        """
        present = self.get(client_id)
        if expected_version not in (None, present.reported.version):
            raise PreconditionFailed(
                f"reported properties of {client_id} have $version {present.reported.version}, not {expected_version}"
            )
        return self._put(client_id, present.reported_patched(patch, now))

    def keep(self, client_id: str, twin: Twin) -> None:
        """Write a twin as it is: an initial one, or one that another hub had; an empty new one takes no place."""
        if twin == Twin():
            self._store.delete(self._table, client_id)
        else:
            self._put(client_id, twin)

    def announce_model(self, client_id: str, model_id: str) -> None:
        """Remember the model that a device announces when it connects.

        Source: iot-hub-devguide-messages-construct.md (documented); it stays until another is announced (assumed).
        """
        present = self.get(client_id)
        if present.model_id != model_id:
            self._put(client_id, replace(present, model_id=model_id))

    def _put(self, client_id: str, twin: Twin) -> Twin:
        self._store.put(self._table, client_id, format_twin_record(twin))
        return twin
