"""The shared access policies of one hub: named keys with rights."""

import json
from dataclasses import dataclass, field
from enum import Flag, auto

from adr.store import Record, Store
from hub.identity import generate_key


class AccessRights(Flag):
    """What a shared access policy allows."""

    REGISTRY_READ = auto()
    REGISTRY_WRITE = auto()
    SERVICE_CONNECT = auto()
    DEVICE_CONNECT = auto()


# Source: authenticate-authorize-sas.md (documented).
DEFAULT_POLICIES = {
    "iothubowner": AccessRights.REGISTRY_READ
    | AccessRights.REGISTRY_WRITE
    | AccessRights.SERVICE_CONNECT
    | AccessRights.DEVICE_CONNECT,
    "service": AccessRights.SERVICE_CONNECT,
    "device": AccessRights.DEVICE_CONNECT,
    "registryRead": AccessRights.REGISTRY_READ,
    "registryReadWrite": AccessRights.REGISTRY_READ | AccessRights.REGISTRY_WRITE,
}


@dataclass(frozen=True, slots=True)
class SharedAccessPolicy:
    """A policy with its two keys, either of which signs tokens."""

    name: str
    rights: AccessRights
    primary_key: str = field(repr=False)
    secondary_key: str = field(repr=False)


class SharedAccessPolicies:
    """The policies of a hub; the default ones are made, with random keys, when the hub is new."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.policies"
        if not store.list(self._table, limit=1):
            for name, rights in DEFAULT_POLICIES.items():
                self.add(SharedAccessPolicy(name, rights, generate_key(), generate_key()))

    def get(self, name: str) -> SharedAccessPolicy | None:
        """Read a policy, None when there is none."""
        record = self._store.get(self._table, name)
        return _parse(record) if record else None

    def list(self) -> list[SharedAccessPolicy]:
        """Read all policies in the order of their names."""
        return [_parse(record) for record in self._store.list(self._table)]

    def add(self, policy: SharedAccessPolicy) -> None:
        """Add a policy, or replace the one with this name."""
        fields = {"rights": policy.rights.value, "primary": policy.primary_key, "secondary": policy.secondary_key}
        self._store.put(self._table, policy.name, json.dumps(fields))


def _parse(record: Record) -> SharedAccessPolicy:
    fields = json.loads(record.value)
    return SharedAccessPolicy(record.key, AccessRights(fields["rights"]), fields["primary"], fields["secondary"])
