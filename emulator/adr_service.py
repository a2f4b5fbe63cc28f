"""What the management of the device registry does beyond its own records: live connections end, identities follow."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from adr.authority import IssuingCa
from adr.device import DISABLED_REASON, AdrDevice
from adr.links import LinkedKind
from adr.registry import AdrRegistry
from broker.gateway import Action
from dps.service import ProvisioningService
from hub.hub import Hub
from hub.identity import DeviceStatus


class AdrService:
    """Joins the device registry with the hubs of a process; `condemned` has what closes connections."""

    def __init__(self, adr: AdrRegistry, hubs: Sequence[Hub], services: Sequence[ProvisioningService]) -> None:
        self.adr = adr
        self._hubs = {hub.settings.name.lower(): hub for hub in hubs}
        self._services = {service.settings.name.lower(): service for service in services}

    def revoke_device(self, namespace: str, device_id: str, now: datetime, *, disable: bool = False) -> AdrDevice:
        """Revoke every certificate of a device and end the connections that rest on one; `disable` ends all others.

        Raises:
            DeviceNotFound: the namespace has no such device.
        """
        device = self.adr.revoke_device(namespace, device_id, now, disable=disable)
        self._condemn(namespace, device_id, f"the certificates of device {device_id} were revoked")
        if disable:
            self._set_status(namespace, device_id, now, enabled=False)
        return device

    def set_enabled(self, namespace: str, device: AdrDevice, now: datetime) -> AdrDevice:
        """Write a device's record and have its identities in the linked hubs follow."""
        self.adr.devices.put(namespace, device)
        self._set_status(namespace, device.device_id, now, enabled=device.enabled)
        if not device.enabled:
            self._condemn(namespace, device.device_id, f"device {device.device_id} was disabled")
        return device

    def delete_device(self, namespace: str, device_id: str, now: datetime) -> None:
        """Delete a device's record with its certificates; its identities in hubs stay (assumed).

        Raises:
            DeviceNotFound: the namespace has no such device.
        """
        self.adr.revoking.delete_device(namespace, device_id, now)
        self._condemn(namespace, device_id, f"device {device_id} was deleted from namespace {namespace}")

    def revoke_issuing_ca(self, namespace: str, name: str, now: datetime) -> list[IssuingCa]:
        """Revoke an issuing CA and end every connection that rests on it, on any hub.

        Raises:
            AuthorityNotFound, AuthorityIsExternal: there is none of this name, or it is not the namespace's own.
            CredentialNotFound, IssuerExpired, IssuerKeyMissing: the root cannot sign a new one; nothing is revoked.
        """
        revoked = self.adr.revoke_issuing_ca(namespace, name, now)
        self._condemn_issued_by(revoked, f"issuing CA {name} of namespace {namespace} was revoked")
        return revoked

    def hub(self, name: str) -> Hub | None:
        """Return a hub by its name, in any case of its letters."""
        return self._hubs.get(name.lower())

    def provisioning_service(self, name: str) -> ProvisioningService | None:
        """Return a DPS by its name, in any case of its letters."""
        return self._services.get(name.lower())

    def linked_hubs(self, namespace: str) -> list[Hub]:
        """List the hubs of a namespace."""
        return [hub for hub in self._hubs.values() if hub.link.namespace == namespace]

    def linked_services(self, namespace: str) -> list[ProvisioningService]:
        """List the DPS instances of a namespace."""
        return [service for service in self._services.values() if service.link.namespace == namespace]

    def link_hub(self, hub: Hub, namespace: str | None) -> None:
        """Link a hub to a namespace or to none; connections that rest on its former namespace's CAs end."""
        former = hub.link.namespace
        if former == namespace:
            return
        self.adr.links.link(LinkedKind.HUB, hub.settings.name, namespace)
        if former is not None:
            issuers = _thumbprints(self.adr.authorities.generations(former))
            hub.connections.condemn_issued_by(issuers, f"hub {hub.settings.name} left namespace {former}")

    def link_service(self, service: ProvisioningService, namespace: str | None) -> None:
        """Link a DPS to a namespace or to none."""
        if service.link.namespace != namespace:
            self.adr.links.link(LinkedKind.PROVISIONING_SERVICE, service.settings.name, namespace)

    def condemned(self) -> list[Action]:
        """Return what closes the connections that shall end, once."""
        return [action for hub in self._hubs.values() for action in hub.connections.condemned()]

    def _condemn(self, namespace: str, device_id: str, reason: str) -> None:
        issuers = _thumbprints(self.adr.authorities.generations(namespace))
        for hub in self._hubs.values():
            hub.connections.condemn_certified(f"{hub.settings.name}/{device_id}", device_id, issuers, reason)
            if hub.link.namespace == namespace:
                hub.credentials.cancel(device_id)

    def _condemn_issued_by(self, issuers: Collection[IssuingCa], reason: str) -> None:
        thumbprints = _thumbprints(issuers)
        for hub in self._hubs.values():
            hub.connections.condemn_issued_by(thumbprints, reason)

    def _set_status(self, namespace: str, device_id: str, now: datetime, *, enabled: bool) -> None:
        status = DeviceStatus.ENABLED if enabled else DeviceStatus.DISABLED
        reason = "" if enabled else DISABLED_REASON
        for hub in self.linked_hubs(namespace):
            identity = hub.registry.get(device_id)
            if identity is not None and identity.status is not status:
                hub.registry.update(replace(identity, status=status, status_reason=reason), now)


def _thumbprints(issuers: Collection[IssuingCa]) -> frozenset[str]:
    return frozenset(issuer.thumbprint for issuer in issuers if issuer.certificate is not None)
