"""The memory of a device in a fleet of thousands: what it needs to come back, as bytes."""

import sys

from cryptography import x509

from certs.keys import PrivateKey
from device_sim.certificate_store import StoredDevice
from device_sim.credential import ClientCertificate
from device_sim.errors import CertificateMismatch
from device_sim.key_pool import format_key, parse_key
from device_sim.registration import Assignment


class CompactStore:
    """A `CertificateStore` in memory that keeps the leaf and the key as DER, in a fifth of what the objects take.

    The certificates above the leaf are the issuing CA's and shared by the fleet.
    """

    __slots__ = ("_above", "_assignment", "_key", "_leaf", "_pending")

    def __init__(self) -> None:
        self._assignment: Assignment | None = None
        self._leaf = b""
        self._key = b""
        self._above: tuple[x509.Certificate, ...] = ()
        self._pending: PrivateKey | None = None

    def load(self) -> StoredDevice:
        """Read what is there."""
        certificate = None
        if self._leaf:
            leaf = x509.load_der_x509_certificate(self._leaf)
            certificate = ClientCertificate((leaf, *self._above), parse_key(self._key))
        return StoredDevice(self._assignment, certificate)

    def pending_key(self) -> PrivateKey | None:
        """Read the key that a certificate was asked for, if none has come yet."""
        return self._pending

    def save_pending_key(self, key: PrivateKey) -> None:
        """Keep a key before its CSR is sent."""
        self._pending = key

    def save_assignment(self, assignment: Assignment) -> None:
        """Keep where the device belongs."""
        self._assignment = Assignment(sys.intern(assignment.hub), assignment.device_id)

    def save_chain(self, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
        """Put the chain and the pending key in the place of the pair in use.

        Raises:
            CertificateMismatch: the chain is incomplete or not for the pending key; the pair in use stays.
        """
        if self._pending is None:
            raise CertificateMismatch("no certificate was asked for: there is no pending key")
        certificate = ClientCertificate(chain, self._pending)
        self._leaf, self._key = certificate.leaf_der, format_key(certificate.key)
        self._above, self._pending = chain[1:], None
        return certificate
