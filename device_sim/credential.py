"""What a device proves its identity with: a certificate and its key, or a symmetric key."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from broker.tls import TlsIdentity, TlsKey
from certs.keys import PrivateKey
from certs.pem import parse_pem_certificates, parse_private_key
from device_sim.errors import CertificateMismatch
from device_sim.sas import decode_key, derive_device_key

T = TypeVar("T")

# Source: Microsoft Learn, certificate renewal (documented).
RENEWAL_FRACTION = 0.8


@dataclass(frozen=True)
class ClientCertificate:
    """A chain, leaf first, and the leaf's private key; for onboarding or, issued by the service, for operation.

    Raises:
        CertificateMismatch: no chain, the key is not the leaf's, or a certificate is not issued by the next one.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        if not self.chain:
            raise CertificateMismatch("the chain holds no certificate")
        if self.leaf.public_key() != self.key.public_key():
            raise CertificateMismatch(f"the leaf {self.leaf.subject.rfc4514_string()} is of another private key")
        for certificate, issuer in zip(self.chain, self.chain[1:], strict=False):
            if certificate.issuer != issuer.subject:
                raise CertificateMismatch(
                    f"{certificate.subject.rfc4514_string()} is followed by {issuer.subject.rfc4514_string()}, "
                    f"but issued by {certificate.issuer.rfc4514_string()}"
                )

    @classmethod
    def read(cls, chain_file: Path, key_file: Path) -> Self:
        """Read a chain and a key from two PEM files.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file does not hold what it should; the message names it.
            CertificateMismatch: the key is not the leaf's, or the chain is out of order.
        """
        return cls(_read(chain_file, parse_pem_certificates), _read(key_file, parse_private_key))

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the device itself."""
        return self.chain[0]

    @cached_property
    def leaf_der(self) -> bytes:
        """The leaf as DER."""
        return self.leaf.public_bytes(Encoding.DER)

    @cached_property
    def presented(self) -> tuple[x509.Certificate, ...]:
        """What goes over the wire: the chain without the root, which the server must know by itself."""
        if len(self.chain) > 1 and self.chain[-1].issuer == self.chain[-1].subject:
            return self.chain[:-1]
        return self.chain

    @cached_property
    def registration_id(self) -> str:
        """The leaf's common name, which is the registration ID in DPS and the device ID in a hub.

        Raises:
            CertificateMismatch: the leaf has no common name.
        """
        names = self.leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if not names:
            raise CertificateMismatch("the leaf has no common name, which has to be the registration ID")
        return str(names[0].value)

    @cached_property
    def identity(self) -> TlsIdentity:
        """What TLS presents: 8 KB, as much again as all the rest."""
        return TlsIdentity(self.leaf_der, TlsKey(self.key))

    def prepare(self, key: TlsKey | None = None) -> Self:
        """Make what TLS presents now, and not while a connection waits for it; `key` is the leaf's, if it is there."""
        self.__dict__["identity"] = TlsIdentity(self.leaf_der, key or TlsKey(self.key))
        return self

    def is_valid(self, now: datetime) -> bool:
        """Tell whether the leaf may be used now."""
        return self.leaf.not_valid_before_utc <= now < self.leaf.not_valid_after_utc

    @cached_property
    def renewal_due(self) -> datetime:
        """When to ask for the next certificate: after 80 % of the leaf's lifetime."""
        lifetime: timedelta = self.leaf.not_valid_after_utc - self.leaf.not_valid_before_utc
        return self.leaf.not_valid_before_utc + lifetime * RENEWAL_FRACTION


@dataclass(frozen=True, slots=True)
class SymmetricKey:
    """The key of an individual enrollment, base64, or the one derived from a group's key.

    Raises:
        ValueError: the key is not base64.
    """

    registration_id: str
    key: str = field(repr=False)

    def __post_init__(self) -> None:
        decode_key(self.key)

    @classmethod
    def of_group(cls, group_key: str, registration_id: str) -> Self:
        """Derive the device's key from its enrollment group's.

        Raises:
            ValueError: the group key is not base64.
        """
        return cls(registration_id, derive_device_key(group_key, registration_id))


OnboardingCredential = ClientCertificate | SymmetricKey


def _read(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
