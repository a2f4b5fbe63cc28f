"""A certificate authority: a CA certificate with its private key, and what it can issue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Self
from uuid import UUID

from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.extensions import extension_of
from certs.identifier import format_identifier
from certs.keys import KeyType, PrivateKey, PublicKey, generate_key, signature_hash
from certs.profiles import (
    BARE,
    ISSUING_CA,
    ONBOARDING_LEAF,
    OPERATIONAL_LEAF,
    ROOT_CA,
    SERVER_LEAF,
    Binding,
    Profile,
    extensions_of,
    host_alternative_names,
)

# Devices' clocks run late: a certificate counts from a little before it is made. Source: assumed.
BACKDATING = timedelta(minutes=5)
# Source: not published by Azure, assumed.
ROOT_VALIDITY = timedelta(days=3653)
ISSUING_CA_VALIDITY = timedelta(days=731)
MAX_COMMON_NAME = 64


class IssuerNotValid(ValueError):
    """The CA's own certificate has expired or is not valid yet, so what it issued would not verify."""


@dataclass(frozen=True)
class CertificateAuthority:
    """A CA certificate and the private key that belongs to it."""

    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def create_root(
        cls,
        common_name: str,
        now: datetime,
        *,
        key_type: KeyType = KeyType.P384,
        validity: timedelta = ROOT_VALIDITY,
        profile: Profile = ROOT_CA,
        key: PrivateKey | None = None,
    ) -> Self:
        """Make a key and a self-signed CA certificate that is valid from 5 minutes ago.

        With a `key` of its own it certifies that one anew: what the CA signed before chains to the new certificate.

        Raises:
            ValueError: the common name does not have 1 to 64 characters.
        """
        key = key or generate_key(key_type)
        subject = _subject(common_name)
        certificate = _sign(
            key,
            issuer=subject,
            subject=subject,
            public_key=key.public_key(),
            period=(now - BACKDATING, now + validity),
            extensions=extensions_of(profile, BARE, key.public_key(), None),
        )
        return cls(certificate, key)

    def issue_intermediate(
        self,
        common_name: str,
        now: datetime,
        *,
        key_type: KeyType = KeyType.P384,
        validity: timedelta = ISSUING_CA_VALIDITY,
        profile: Profile = ISSUING_CA,
        crl_url: str = "",
        issuer_url: str = "",
    ) -> "CertificateAuthority":
        """Make a key and a CA certificate under this CA, never valid longer than this CA.

        Without URLs the certificate does not say where the revocation list and this CA's certificate are.

        Raises:
            IssuerNotValid: this CA is not valid at `now`.
            ValueError: the common name does not have 1 to 64 characters.
        """
        key = generate_key(key_type)
        binding = Binding(crl_url=crl_url, issuer_url=issuer_url)
        certificate = self._issue(profile, common_name, key.public_key(), now, validity, binding=binding)
        return CertificateAuthority(certificate, key)

    def issue_operational(
        self,
        device_id: str,
        public_key: PublicKey,
        identifier: UUID,
        now: datetime,
        *,
        validity: timedelta,
        crl_url: str,
        issuer_url: str,
    ) -> x509.Certificate:
        """Issue the certificate that a device shows to its hub: CN = device ID, the identifier as a SAN URI.

        Valid from 5 minutes ago for `validity` from now, never longer than this CA.

        Raises:
            IssuerNotValid: this CA is not valid at `now`.
            ValueError: the device ID does not have 1 to 64 characters.

        Source: Microsoft Learn, certificate issuance and policy management (documented).
        """
        name = x509.UniformResourceIdentifier(format_identifier(identifier))
        binding = Binding(alternative_names=(name,), crl_url=crl_url, issuer_url=issuer_url)
        return self._issue(OPERATIONAL_LEAF, device_id, public_key, now, validity, binding=binding)

    def issue_onboarding(
        self, common_name: str, public_key: PublicKey, now: datetime, *, validity: timedelta
    ) -> x509.Certificate:
        """Issue a certificate to onboard with, as a factory's CA would: CN = registration ID.

        Raises:
            IssuerNotValid: this CA is not valid at `now`.
            ValueError: the common name does not have 1 to 64 characters.
        """
        return self._issue(ONBOARDING_LEAF, common_name, public_key, now, validity)

    def issue_server(
        self, host_names: Sequence[str], public_key: PublicKey, now: datetime, *, validity: timedelta
    ) -> x509.Certificate:
        """Issue a TLS server certificate for host names and IP addresses; the first is the common name too.

        Raises:
            IssuerNotValid: this CA is not valid at `now`.
            ValueError: there is no host name, or one is not ASCII, or the first is longer than 64 characters.
        """
        if not host_names:
            raise ValueError("a server certificate needs at least one host name")
        binding = Binding(alternative_names=host_alternative_names(host_names))
        return self._issue(SERVER_LEAF, host_names[0], public_key, now, validity, binding=binding)

    @cached_property
    def authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """What names this CA's key in the certificates and lists that it signs."""
        identifier = extension_of(self.certificate, x509.SubjectKeyIdentifier)
        if identifier is not None:
            return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    def _issue(
        self,
        profile: Profile,
        common_name: str,
        public_key: PublicKey,
        now: datetime,
        validity: timedelta,
        *,
        binding: Binding = BARE,
    ) -> x509.Certificate:
        return _sign(
            self.key,
            issuer=self.certificate.subject,
            subject=_subject(common_name),
            public_key=public_key,
            period=self._period_of_issued(now, validity),
            extensions=extensions_of(profile, binding, public_key, self.authority_key_identifier),
        )

    def _period_of_issued(self, now: datetime, validity: timedelta) -> tuple[datetime, datetime]:
        first, last = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if not first <= now <= last:
            name = self.certificate.subject.rfc4514_string()
            raise IssuerNotValid(f"CA {name} is valid from {first} to {last}: it cannot issue at {now}")
        return max(now - BACKDATING, first), min(now + validity, last)


def _subject(common_name: str) -> x509.Name:
    if not 1 <= len(common_name) <= MAX_COMMON_NAME:
        raise ValueError(
            f"common name {common_name!r} has {len(common_name)} characters: X.509 allows 1 to {MAX_COMMON_NAME}"
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sign(
    key: PrivateKey,
    *,
    issuer: x509.Name,
    subject: x509.Name,
    public_key: PublicKey,
    period: tuple[datetime, datetime],
    extensions: list[x509.Extension[x509.ExtensionType]],
) -> x509.Certificate:
    not_before, not_after = (moment.replace(microsecond=0) for moment in period)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=not_before,
        not_valid_after=not_after,
        extensions=extensions,
    )
    return builder.sign(key, signature_hash(key))
