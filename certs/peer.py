"""The certificates a TLS peer presented."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cryptography import x509

from certs.extensions import MalformedCertificate, decode_fields, load_certificate, serial_number_of


@dataclass(frozen=True)
class PeerChain:
    """The chain of one TLS handshake, leaf first, as DER; empty when the client presented none.

    The handshake has proven that the client holds the leaf's private key. Nothing else about it is validated.
    """

    der: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.der)

    @cached_property
    def leaf(self) -> x509.Certificate | None:
        """The presented leaf, its names and validity decoded.

        Raises:
            MalformedCertificate: the certificate, one of its names or its validity cannot be decoded.
        """
        if not self.der:
            return None
        leaf = load_certificate(self.der[0])
        decode_fields(leaf)
        return leaf

    @cached_property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What came after the leaf, in the order presented.

        Raises:
            MalformedCertificate: a certificate cannot be parsed.
        """
        return tuple(_load_intermediate(der) for der in self.der[1:])

    @cached_property
    def serial_number(self) -> str:
        """The leaf's serial number in lower-case hex; empty where there is no leaf or it cannot be decoded."""
        try:
            leaf = self.leaf
        except MalformedCertificate:
            return ""
        return f"{serial_number_of(leaf):x}" if leaf is not None else ""

    @cached_property
    def sha1_thumbprint(self) -> str:
        """Upper-case hex SHA-1 of the leaf, or an empty text."""
        return hashlib.sha1(self.der[0], usedforsecurity=False).hexdigest().upper() if self.der else ""

    @cached_property
    def sha256_thumbprint(self) -> str:
        """Upper-case hex SHA-256 of the leaf, or an empty text."""
        return hashlib.sha256(self.der[0]).hexdigest().upper() if self.der else ""


@lru_cache(maxsize=256)
def _load_intermediate(der: bytes) -> x509.Certificate:
    # Nothing but a remembered value: a fleet presents the same one with every leaf.
    return load_certificate(der)
