"""Issuing: what a device gets under its policy, and how a certificate that was issued here is known again."""

import logging
from collections.abc import Callable
from datetime import datetime

from cryptography import x509

from adr.authorities import Authorities, PublicUrls
from adr.authority import IssuingCa
from adr.device import AdrDevice
from adr.devices import Devices
from adr.errors import CommonNameTooLong, DeviceDisabled, DeviceHasNoPolicy, IssuerExpired
from adr.issuance import IssuedCertificate, IssuedChain, KnownCertificate, thumbprint_of
from adr.policy import Policy
from certs.authority import MAX_COMMON_NAME, IssuerNotValid
from certs.csr import CertificateRequest

logger = logging.getLogger("adr")


class Issuing:
    """Signs for the devices of all namespaces; `find_policy` returns a policy by namespace and name."""

    def __init__(
        self, find_policy: Callable[[str, str], Policy], authorities: Authorities, devices: Devices, urls: PublicUrls
    ) -> None:
        self._find_policy = find_policy
        self._authorities = authorities
        self._devices = devices
        self._urls = urls

    def issue(self, namespace: str, device_id: str, request: CertificateRequest, now: datetime) -> IssuedChain:
        """Issue an operational certificate under the device's policy, and keep a note of it.

        Its CN is the device ID as registered, whatever the case of the letters in the request.

        Raises:
            DeviceNotFound, DeviceDisabled, DeviceHasNoPolicy: there is nothing to issue for or under.
            PolicyNotFound: the device's policy is gone.
            CommonNameTooLong: the device ID has more than 64 characters.
            AuthorityNotActive, IssuerExpired, IssuerKeyMissing: the issuing CA cannot sign.
        """
        device = self._devices.require(namespace, device_id)
        policy = self.policy_for(namespace, device)
        authority = self._authorities.current(namespace, policy.authority)
        leaf = self._sign(authority, policy, device, request, now)
        chain = IssuedChain(leaf, authority.signed, authority.issuers[0] if authority.issuers else None)
        note = IssuedCertificate(
            device_id,
            chain.serial_number,
            policy.name,
            leaf.not_valid_after_utc,
            thumbprint_of(leaf),
            authority.thumbprint,
            device.identifier,
        )
        self._devices.note(namespace, note)
        logger.info("device %s: issued %s by policy %s", device_id, note.serial_number, policy.name)
        return chain

    def known_certificate(
        self, namespace: str, device_id: str, serial_number: int, thumbprint: str
    ) -> KnownCertificate | None:
        """Return what the note of its issuance says of this very certificate, if a trusted issuing CA signed it here.

        Spares the check of a signature that was made here, and the decoding of extensions: the thumbprint is over the
        whole certificate, signature included. An issuer that is no trust anchor any more does not count.

        Args:
            namespace: the namespace's name.
            device_id: whose certificate it is.
            serial_number: its serial number.
            thumbprint: its SHA-256 in upper-case hex.
        """
        note = self._devices.noted(namespace, device_id, f"{serial_number:x}")
        if note is None or not note.thumbprint or note.thumbprint != thumbprint:
            return None
        trusted = self._authorities.trusted(namespace)
        issuer = next((each for each in trusted if each.thumbprint == note.issuer_thumbprint), None)
        return None if issuer is None else KnownCertificate(issuer, note.identifier)

    def policy_for(self, namespace: str, device: AdrDevice) -> Policy:
        """Return the policy that issues for a device.

        Raises:
            DeviceDisabled, DeviceHasNoPolicy: nothing is issued for it.
            CommonNameTooLong: its ID has more than 64 characters.
            PolicyNotFound: its policy is gone.
        """
        if not device.enabled:
            raise DeviceDisabled(f"device {device.device_id!r} is disabled in namespace {namespace!r}")
        if device.policy is None:
            raise DeviceHasNoPolicy(f"device {device.device_id!r} has no policy in namespace {namespace!r}")
        if len(device.device_id) > MAX_COMMON_NAME:
            raise CommonNameTooLong(
                f"device ID {device.device_id!r} has {len(device.device_id)} characters: "
                f"a common name holds {MAX_COMMON_NAME}"
            )
        return self._find_policy(namespace, device.policy)

    def _sign(
        self, authority: IssuingCa, policy: Policy, device: AdrDevice, request: CertificateRequest, now: datetime
    ) -> x509.Certificate:
        signer = self._authorities.signer(authority)
        try:
            return signer.issue_operational(
                device.device_id,
                request.public_key,
                device.identifier,
                now,
                validity=policy.leaf_validity,
                crl_url=self._urls.revocation_list(authority),
                issuer_url=self._urls.certificate(authority),
            )
        except IssuerNotValid as error:
            raise IssuerExpired(str(error)) from error
