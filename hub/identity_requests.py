"""Identities as services ask for them: create or update by the rules of `If-Match`, delete, and many at once."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from hub.errors import ArgumentInvalid, DeviceNotFound, HubError, IotHubUnauthorizedAccess, PreconditionFailed
from hub.identity import Authentication, DeviceIdentity, ModuleIdentity
from hub.identity_document import IdentityDocument, ImportMode, parse_identity_document, parse_import_mode
from hub.registry import DeviceRegistry
from hub.twin import Twin
from hub.twin_json import parse_initial_twin
from hub.twins import Twins

ANY_ETAG: Final = "*"
MAX_BULK: Final = 100


class IdentityRequests:
    """What the service API does with the identities of one hub.

    `if_match` is None without the header, `*`, or an ETag without its quotes.
    """

    def __init__(self, registry: DeviceRegistry, twins: Twins) -> None:
        self._registry = registry
        self._twins = twins

    def get(self, device_id: str) -> DeviceIdentity:
        """Read a device.

        Raises:
            DeviceNotFound: there is none.
        """
        device = self._registry.get(device_id)
        if device is None:
            raise DeviceNotFound(f"Device {device_id} not registered")
        return device

    def put(self, device_id: str, document: IdentityDocument, if_match: str | None, now: datetime) -> DeviceIdentity:
        """Create without `if_match`, replace with it; keys that are not given are made anew.

        Raises:
            ArgumentInvalid: the document is for another device, or a rule about IDs, keys, thumbprints is broken.
            DeviceAlreadyExists: the ID is taken.
            DeviceNotFound: there is nothing to replace.
            PreconditionFailed: `if_match` is not the device's ETag.

        Source: live probes of PUT /devices/{id} (observed).
        """
        _check_same("deviceId", document.device_id, device_id)
        if if_match is None:
            return self._registry.create(
                device_id,
                document.authentication,
                now,
                status=document.status,
                status_reason=document.status_reason,
            )
        wanted = replace(
            self.get(device_id),
            authentication=document.authentication or Authentication.generate_sas(),
            status=document.status,
            status_reason=document.status_reason,
        )
        return self._registry.update(wanted, now, etag=_etag(if_match))

    def delete(self, device_id: str, if_match: str | None) -> None:
        """Delete a device and what belongs to it.

        Raises:
            DeviceNotFound: there is none.
            PreconditionFailed: `if_match` is missing, or not the device's ETag.

        Source: live probes of DELETE /devices/{id} (observed).
        """
        self._registry.delete(device_id, etag=_etag(_required(if_match)))

    def get_modules(self, device_id: str) -> list[ModuleIdentity]:
        """Read the modules of a device.

        Raises:
            IotHubUnauthorizedAccess: there is no such device, or it is disabled.
        """
        self._check_module_owner(device_id)
        return self._registry.list_modules(device_id)

    def get_module(self, device_id: str, module_id: str) -> ModuleIdentity:
        """Read a module.

        Raises:
            IotHubUnauthorizedAccess: there is no such device, or it is disabled.
            ModuleNotFound: it has no such module.
        """
        self._check_module_owner(device_id)
        return self._registry.require_module(device_id, module_id)

    def put_module(
        self, device_id: str, module_id: str, document: IdentityDocument, if_match: str | None, now: datetime
    ) -> ModuleIdentity:
        """Create a module without `if_match`, replace it with it.

        Raises:
            ArgumentInvalid: the document is for another module, or a rule about IDs, keys, thumbprints is broken.
            IotHubUnauthorizedAccess: there is no such device, or it is disabled.
            ModuleAlreadyExistsOnDevice: the ID is taken.
            ModuleNotFound: there is nothing to replace.
            PreconditionFailed: `if_match` is not the module's ETag.
        """
        _check_same("deviceId", document.device_id, device_id)
        _check_same("moduleId", document.module_id, module_id)
        if module_id.startswith("$"):
            raise ArgumentInvalid(f"moduleId {module_id!r}: IDs that begin with $ are the hub's")
        self._check_module_owner(device_id)
        if if_match is None:
            return self._registry.create_module(
                device_id, module_id, document.authentication, now, managed_by=document.managed_by
            )
        wanted = replace(
            self._registry.require_module(device_id, module_id),
            authentication=document.authentication or Authentication.generate_sas(),
            managed_by=document.managed_by,
        )
        return self._registry.update_module(wanted, etag=_etag(if_match))

    def delete_module(self, device_id: str, module_id: str, if_match: str | None) -> None:
        """Delete a module.

        Raises:
            IotHubUnauthorizedAccess: there is no such device, or it is disabled.
            ModuleNotFound: it has no such module.
            PreconditionFailed: `if_match` is missing, or not the module's ETag.
        """
        self._check_module_owner(device_id)
        self._registry.delete_module(device_id, module_id, etag=_etag(_required(if_match)))

    def put_many(self, documents: list[Any], now: datetime) -> list[dict[str, Any]]:
        """Do a bulk request, and return the errors of the elements that could not be done; the others are done.

        Raises:
            ArgumentInvalid: it is empty, or has over 100 elements.

        Source: live probes of POST /devices (observed); an empty request is assumed to be an error.
        """
        if not 1 <= len(documents) <= MAX_BULK:
            raise ArgumentInvalid(f"a bulk request has 1–{MAX_BULK} elements, this one has {len(documents)}")
        return [error for document in documents for error in self._put_one(document, now)]

    def _put_one(self, document: object, now: datetime) -> list[dict[str, Any]]:
        device_id = document.get("id") or document.get("deviceId") if isinstance(document, Mapping) else None
        try:
            if not isinstance(document, Mapping) or not isinstance(device_id, str):
                raise ArgumentInvalid("an element of a bulk request is an object with an id")
            self._do(device_id, document, now)
        except HubError as error:
            return [
                {
                    "deviceId": device_id,
                    "errorCode": error.code,
                    "errorStatus": str(error),
                    "moduleId": None,
                    "operation": None,
                }
            ]
        return []

    def _do(self, device_id: str, document: Mapping[str, Any], now: datetime) -> None:
        mode = parse_import_mode(document)
        wanted = parse_identity_document({**document, "deviceId": device_id})
        if wanted.module_id is not None:
            raise ArgumentInvalid("modules are not taken in a bulk request")
        named = wanted.etag if mode in (ImportMode.UPDATE_IF_MATCH_ETAG, ImportMode.DELETE_IF_MATCH_ETAG) else ANY_ETAG
        if mode in (ImportMode.DELETE, ImportMode.DELETE_IF_MATCH_ETAG):
            self.delete(device_id, named)
            return
        is_new = self._registry.get(device_id) is None
        creates = mode is ImportMode.CREATE or (mode is ImportMode.CREATE_OR_UPDATE and is_new)
        initial = parse_initial_twin(document, now) if creates else Twin()
        self.put(device_id, wanted, None if creates else _required(named), now)
        if initial != Twin():
            self._twins.keep(device_id, initial)

    def _check_module_owner(self, device_id: str) -> None:
        """Refuse what concerns modules of a device that is not there or disabled.

        Source: live probes with SAS tokens: 401002, not 404 (observed).
        """
        device = self._registry.get(device_id)
        if device is None or not device.enabled:
            raise IotHubUnauthorizedAccess(f"device {device_id} does not exist or is disabled")


def _check_same(name: str, said: str | None, meant: str) -> None:
    if said is not None and said != meant:
        raise ArgumentInvalid(f"{name} in the body is {said[:140]!r}, in the path {meant[:140]!r}")


def _required(if_match: str | None) -> str:
    if not if_match:
        raise PreconditionFailed("Etag missing: this request needs an If-Match header")
    return if_match


def _etag(if_match: str) -> str | None:
    return None if if_match == ANY_ETAG else if_match
