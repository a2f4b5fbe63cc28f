"""Revoking: a device's certificates by its identifier, an issuing CA by its successor, both on a revocation list."""

import logging
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from cryptography import x509

from adr.audit import AuditKind, AuditTrail
from adr.authorities import Authorities
from adr.authority import IssuingCa
from adr.device import AdrDevice
from adr.devices import Devices
from adr.issuance import thumbprint_of
from adr.revocation import Revocation, Revocations

logger = logging.getLogger("adr")


class Revoking:
    """Takes back what was issued; connections that rest on it are the caller's to end."""

    def __init__(self, authorities: Authorities, devices: Devices, revocations: Revocations, audit: AuditTrail) -> None:
        self._authorities = authorities
        self._devices = devices
        self._revocations = revocations
        self._audit = audit

    def revoke_device(
        self,
        namespace: str,
        device_id: str,
        now: datetime,
        *,
        disable: bool = False,
        reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise,
    ) -> AdrDevice:
        """Make every certificate issued for the device so far worthless, by giving it a new identifier.

        They go on the revocation list of their issuing CA.

        Raises:
            DeviceNotFound: the namespace has no such device.

        Source: concepts-certificate-policy-management.md §revoke (documented); the reason code is assumed.
        """
        device = self._devices.require(namespace, device_id)
        enabled = device.enabled and not disable
        notes = (note for note in self._devices.notes(namespace, device_id) if note.not_after > now)
        valid = [note for note in notes if self._revocations.get(note.issuer_thumbprint, note.serial_number) is None]
        for note in valid:
            self._revocations.add(Revocation(note.issuer_thumbprint, note.serial_number, now, reason, note.not_after))
        revoked = replace(device, identifier=uuid4(), enabled=enabled)
        text = f"every certificate of the device revoked ({reason.value})" + (
            "" if enabled else ", the device disabled"
        )
        logger.warning("device %s of namespace %s: %s", device_id, namespace, text)
        # One event for each certificate that was still good; one that says so where none was.
        for serial_number in [note.serial_number for note in valid] or [""]:
            self._audit.record(
                AuditKind.REVOKED,
                now,
                service=namespace,
                device_id=device_id,
                serial_number=serial_number,
                reason=text,
            )
        return self._devices.put(namespace, revoked)

    def delete_device(self, namespace: str, device_id: str, now: datetime) -> None:
        """Revoke a device's certificates and forget the device.

        Raises:
            DeviceNotFound: the namespace has no such device.
        """
        self.revoke_device(namespace, device_id, now, reason=x509.ReasonFlags.cessation_of_operation)
        self._devices.delete(namespace, device_id)

    def revoke_issuing_ca(self, namespace: str, name: str, now: datetime) -> list[IssuingCa]:
        """Revoke an issuing CA with all it signed, put it on the root's revocation list, and make the next.

        Returns the revoked generations: hubs no longer trust them, and connections that rest on them must end.

        Raises:
            AuthorityNotFound: there is none of this name.
            AuthorityIsExternal: only its owner's CA can revoke it.
            CredentialNotFound, IssuerExpired, IssuerKeyMissing: the root cannot sign a new one; nothing is revoked.

        Source: concepts-certificate-policy-management.md §revoking a policy (documented).
        """
        revoked, following = self._authorities.revoke(namespace, name, now)
        for each in revoked:
            certificate, serial_number = each.signed, f"{each.signed.serial_number:x}"
            self._revocations.add(
                Revocation(
                    thumbprint_of(each.issuers[0]),
                    serial_number,
                    now,
                    x509.ReasonFlags.ca_compromise,
                    certificate.not_valid_after_utc,
                )
            )
            reason = f"issuing CA {each.name} generation {each.generation} revoked, {following.generation} follows"
            self._audit.record(AuditKind.REVOKED, now, service=namespace, serial_number=serial_number, reason=reason)
        return revoked
