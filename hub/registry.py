"""The identity registry of one hub: its devices and their modules, kept in the store."""

import logging
from dataclasses import replace
from datetime import datetime

from adr.parsed import RecentlyParsed
from adr.store import Record, RevisionMismatch, Store
from hub.connections import Connections
from hub.errors import (
    DeviceAlreadyExists,
    DeviceNotFound,
    ModuleAlreadyExistsOnDevice,
    ModuleNotFound,
    PreconditionFailed,
)
from hub.identity import (
    Authentication,
    AuthenticationType,
    DeviceIdentity,
    DeviceStatus,
    ModuleIdentity,
    check_authentication,
    check_device_id,
    format_etag,
    generate_generation_id,
)
from hub.identity_json import (
    format_device_record,
    format_module_record,
    parse_device_record,
    parse_module_record,
)

log = logging.getLogger("hub")

# Devices that were just created connect next.
MAX_PARSED = 1_024
# What a device leaves behind in other tables, under its ID or its ID and a slash.
DEPENDENT_TABLES = ("modules", "sessions", "credentials", "twins", "c2d")


class DeviceRegistry:
    """Devices and modules of one hub; IDs are case-sensitive.

    A device that is disabled or deleted loses its connections: `Connections.condemned` has them.
    """

    def __init__(self, store: Store, hub_name: str, connections: Connections | None = None) -> None:
        self._store = store
        self._connections = connections or Connections()
        self._hub_name = hub_name
        self._devices = f"{hub_name}.devices"
        self._modules = f"{hub_name}.modules"
        self._parsed = RecentlyParsed(parse_device_record, MAX_PARSED)

    def get(self, device_id: str) -> DeviceIdentity | None:
        """Read a device, None when there is none."""
        record = self._store.get(self._devices, device_id)
        return self._parsed.of(record) if record else None

    def create(
        self,
        device_id: str,
        authentication: Authentication | None,
        now: datetime,
        *,
        status: DeviceStatus = DeviceStatus.ENABLED,
        status_reason: str | None = None,
    ) -> DeviceIdentity:
        """Create a device; without an authentication, or with `sas` without keys, keys are generated.

        Raises:
            ArgumentInvalid: ID, keys or thumbprints are malformed.
            DeviceAlreadyExists: the ID is taken.

        Source: live probes of PUT /devices/{id} (observed).
        """
        check_device_id(device_id)
        identity = DeviceIdentity(
            device_id,
            generate_generation_id(now),
            "",
            _complete(authentication),
            now,
            status,
            status_reason,
        )
        if self._store.get(self._devices, device_id):
            raise DeviceAlreadyExists(f"A device with ID '{device_id}' is already registered.")
        return self._put(identity, expected=0)

    def update(self, identity: DeviceIdentity, now: datetime, *, etag: str | None = None) -> DeviceIdentity:
        """Replace status and authentication of a device; `etag` None overwrites whatever is there.

        Raises:
            ArgumentInvalid: keys or thumbprints are malformed.
            DeviceNotFound: no such device.
            PreconditionFailed: `etag` is not the device's.
        """
        record, present = self._require(identity.device_id)
        if etag is not None and etag != present.etag:
            raise PreconditionFailed(
                f"ETag {etag!r} of device {identity.device_id} is not the present {present.etag!r}"
            )
        changed = identity.status is not present.status
        if changed and not identity.enabled:
            reason = f"device {identity.device_id} was disabled"
            self._connections.condemn(self._key(identity.device_id), identity.device_id, reason)
        updated = replace(
            present,
            authentication=_complete(identity.authentication),
            status=identity.status,
            status_reason=identity.status_reason,
            status_updated=now if changed else present.status_updated,
        )
        return self._put(updated, expected=record.revision)

    def provision(self, device_id: str, authentication: Authentication, now: datetime) -> tuple[DeviceIdentity, bool]:
        """Create the device, or give the one there this authentication; True when it was created.

        A device that has this authentication already is left as it is, ETag included.

        Raises:
            ArgumentInvalid: ID, keys or thumbprints are malformed.
        """
        present = self.get(device_id)
        if present is None:
            return self.create(device_id, authentication, now), True
        if present.authentication == authentication:
            return present, False
        return self.update(replace(present, authentication=authentication), now), False

    def delete(self, device_id: str, *, etag: str | None = None) -> None:
        """Delete a device with its modules, twins, sessions, messages and certificate operations.

        Raises:
            DeviceNotFound: no such device.
            PreconditionFailed: `etag` is not the device's.
        """
        record, present = self._require(device_id)
        if etag is not None and etag != present.etag:
            raise PreconditionFailed(f"ETag {etag!r} of device {device_id} is not the present {present.etag!r}")
        self._store.delete(self._devices, device_id, expected=record.revision)
        for table in DEPENDENT_TABLES:
            self._forget(f"{self._hub_name}.{table}", device_id)
        self._connections.condemn(self._key(device_id), device_id, f"device {device_id} was deleted")
        self._connections.forget(self._key(device_id), device_id)
        log.info("device %s: deleted from hub %s", device_id, self._hub_name)

    def get_module(self, device_id: str, module_id: str) -> ModuleIdentity | None:
        """Read a module, None when there is none."""
        record = self._store.get(self._modules, f"{device_id}/{module_id}")
        return parse_module_record(record) if record else None

    def list_modules(self, device_id: str) -> list[ModuleIdentity]:
        """Read the modules of a device (at most 1,000)."""
        return [parse_module_record(record) for record in self._store.list(self._modules, f"{device_id}/")]

    def list_all_modules(self, after: str = "", limit: int = 1000) -> list[ModuleIdentity]:
        """Read modules of all devices in the order of `{device}/{module}`, those after `after`."""
        return [parse_module_record(record) for record in self._store.list(self._modules, after=after, limit=limit)]

    def create_module(
        self,
        device_id: str,
        module_id: str,
        authentication: Authentication | None,
        now: datetime,
        *,
        managed_by: str | None = None,
    ) -> ModuleIdentity:
        """Create a module on a device; authentication `none` becomes `sas`, as Azure does.

        Raises:
            ArgumentInvalid: ID, keys or thumbprints are malformed.
            DeviceNotFound: no such device.
            ModuleAlreadyExistsOnDevice: the ID is taken.
        """
        check_device_id(module_id, "moduleId")
        self._require(device_id)
        if authentication is not None and authentication.type is AuthenticationType.NONE:
            authentication = None
        module = ModuleIdentity(
            device_id, module_id, generate_generation_id(now), "", _complete(authentication), now, managed_by
        )
        if self._store.get(self._modules, f"{device_id}/{module_id}"):
            raise ModuleAlreadyExistsOnDevice(f"module {module_id} is already registered on device {device_id}")
        return self._put_module(module)

    def update_module(self, module: ModuleIdentity, *, etag: str | None = None) -> ModuleIdentity:
        """Replace authentication and `managed_by` of a module; `etag` None overwrites whatever is there.

        Raises:
            ArgumentInvalid: keys or thumbprints are malformed.
            ModuleNotFound: no such module.
            PreconditionFailed: `etag` is not the module's.
        """
        present = self.require_module(module.device_id, module.module_id, etag)
        authentication = _complete(module.authentication)
        return self._put_module(replace(present, authentication=authentication, managed_by=module.managed_by))

    def delete_module(self, device_id: str, module_id: str, *, etag: str | None = None) -> None:
        """Delete a module with its twin and session.

        Raises:
            ModuleNotFound: no such module.
            PreconditionFailed: `etag` is not the module's.
        """
        self.require_module(device_id, module_id, etag)
        key = f"{device_id}/{module_id}"
        for table in ("modules", "sessions", "twins"):
            self._store.delete(f"{self._hub_name}.{table}", key)
        self._connections.condemn_one(self._key(key), f"module {key} was deleted")

    def require_module(self, device_id: str, module_id: str, etag: str | None = None) -> ModuleIdentity:
        """Read a module that must be there, with this ETag unless it is None.

        Raises:
            ModuleNotFound: no such module.
            PreconditionFailed: `etag` is not the module's.
        """
        present = self.get_module(device_id, module_id)
        if present is None:
            raise ModuleNotFound(f"device {device_id} has no module {module_id}")
        if etag not in (None, present.etag):
            raise PreconditionFailed(
                f"ETag {etag!r} of module {device_id}/{module_id} is not the present {present.etag!r}"
            )
        return present

    def _put_module(self, module: ModuleIdentity) -> ModuleIdentity:
        key = f"{module.device_id}/{module.module_id}"
        revision = self._store.put(self._modules, key, format_module_record(module))
        return replace(module, etag=format_etag(module.generation_id, revision))

    def _key(self, client_id: str) -> str:
        return f"{self._hub_name}/{client_id}"

    def _require(self, device_id: str) -> tuple[Record, DeviceIdentity]:
        record = self._store.get(self._devices, device_id)
        if record is None:
            raise DeviceNotFound(f"device {device_id!r} is not registered in hub {self._hub_name}")
        return record, parse_device_record(record)

    def _put(self, identity: DeviceIdentity, expected: int) -> DeviceIdentity:
        text = format_device_record(identity)
        try:
            revision = self._store.put(self._devices, identity.device_id, text, expected)
        except RevisionMismatch as error:
            raise PreconditionFailed(f"device {identity.device_id} was changed at the same time") from error
        written = replace(identity, etag=format_etag(identity.generation_id, revision))
        self._parsed.know(Record(identity.device_id, text, revision), written)
        return written

    def _forget(self, table: str, device_id: str) -> None:
        self._store.delete(table, device_id)
        while records := self._store.list(table, f"{device_id}/"):
            for record in records:
                self._store.delete(table, record.key)

    def list(self, after: str = "", limit: int = 1000) -> list[DeviceIdentity]:
        """Read devices in the order of their IDs, those after `after`."""
        return [parse_device_record(record) for record in self._store.list(self._devices, after=after, limit=limit)]


def _complete(authentication: Authentication | None) -> Authentication:
    """Generate the keys that are not given, and check those that are."""
    if authentication is None:
        return Authentication.generate_sas()
    if authentication.type is AuthenticationType.SAS and (
        authentication.primary_key is None and authentication.secondary_key is None
    ):
        return Authentication.generate_sas()
    check_authentication(authentication)
    return authentication
