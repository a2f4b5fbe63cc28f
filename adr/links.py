"""Links: which hubs and DPS instances belong to which namespace, as far as the management API was told."""

import json
from enum import StrEnum

from adr.store import Store, each_record

LINKS = "adr.links"


class LinkedKind(StrEnum):
    """What can be linked to a namespace, by the type Azure gives it."""

    HUB = "Microsoft.Devices/IotHubs"
    PROVISIONING_SERVICE = "Microsoft.Devices/provisioningServices"


class Link:
    """The link of one hub or DPS to a namespace; asked each time, as it can change while they run."""

    def __init__(self, store: Store, key: str, declared: str | None) -> None:
        self._store = store
        self._key = key
        self._declared = declared

    @property
    def namespace(self) -> str | None:
        """The namespace's name; None without one, and so without certificate management."""
        record = self._store.get(LINKS, self._key)
        if record is None:
            return self._declared
        namespace: str | None = json.loads(record.value)
        return namespace


class Links:
    """One namespace, or none, for each hub and DPS; what is not told here is as the configuration declares it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, kind: LinkedKind, name: str, declared: str | None) -> "Link":
        """Return the link of one hub or DPS; `declared` is the namespace it has when nobody says otherwise."""
        return Link(self._store, _key(kind, name), declared)

    def link(self, kind: LinkedKind, name: str, namespace: str | None) -> None:
        """Link a hub or DPS to a namespace, or to none; it outlives a restart and overrules the configuration."""
        self._store.put(LINKS, _key(kind, name), json.dumps(namespace))

    def told(self, namespace: str) -> list[tuple[LinkedKind, str]]:
        """List what was linked to a namespace here."""
        every = ((record.key.partition(":"), json.loads(record.value)) for record in each_record(self._store, LINKS))
        return [(LinkedKind(kind), name) for (kind, _, name), linked in every if linked == namespace]


def _key(kind: LinkedKind, name: str) -> str:
    return f"{kind.value}:{name}"
