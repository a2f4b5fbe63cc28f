"""Where a device keeps what it was given: on disk, so that power may fail at any moment, or in memory.

A directory holds `device.key` and `device.pem` (the pair in use), `assignment.json`, and while a certificate is
being obtained `pending.key` (written before the CSR is sent) and `pending.pem` (written when the chain is there).
A complete pending pair is copied over the pair in use and only then removed; `load` finishes a copy that was
interrupted. So at any moment one complete pair can be found. Keys have mode 0600.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509

from certs.keyfile import PRIVATE_DIRECTORY_MODE, write_atomic, write_private
from certs.keys import PrivateKey
from certs.pem import format_pem, format_private_key, parse_private_key
from device_sim.credential import ClientCertificate
from device_sim.errors import CertificateMismatch
from device_sim.registration import Assignment


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """What a device knows of itself; any part may be missing."""

    assignment: Assignment | None = None
    certificate: ClientCertificate | None = None


class CertificateStore(Protocol):
    """The memory of one device."""

    def load(self) -> StoredDevice:
        """Read what is there."""
        ...

    def pending_key(self) -> PrivateKey | None:
        """Read the key that a certificate was asked for, if none has come yet."""
        ...

    def save_pending_key(self, key: PrivateKey) -> None:
        """Keep a key before its CSR is sent."""
        ...

    def save_assignment(self, assignment: Assignment) -> None:
        """Keep where the device belongs."""
        ...

    def save_chain(self, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
        """Put the chain and the pending key in the place of the pair in use.

        Raises:
            CertificateMismatch: the chain is incomplete or not for the pending key; the pair in use stays.
        """
        ...


class MemoryStore:
    """Remembers for as long as the process lives."""

    def __init__(self) -> None:
        self._assignment: Assignment | None = None
        self._certificate: ClientCertificate | None = None
        self._pending: PrivateKey | None = None

    def load(self) -> StoredDevice:
        """Read what is there."""
        return StoredDevice(self._assignment, self._certificate)

    def pending_key(self) -> PrivateKey | None:
        """Read the key that a certificate was asked for, if none has come yet."""
        return self._pending

    def save_pending_key(self, key: PrivateKey) -> None:
        """Keep a key before its CSR is sent."""
        self._pending = key

    def save_assignment(self, assignment: Assignment) -> None:
        """Keep where the device belongs."""
        self._assignment = assignment

    def save_chain(self, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
        """Put the chain and the pending key in the place of the pair in use.

        Raises:
            CertificateMismatch: the chain is incomplete or not for the pending key.
        """
        if self._pending is None:
            raise CertificateMismatch("no certificate was asked for: there is no pending key")
        self._certificate, self._pending = ClientCertificate(chain, self._pending), None
        return self._certificate


class DirectoryStore:
    """Remembers in a directory of one device, mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key, self._chain = directory / "device.key", directory / "device.pem"
        self._pending_key, self._pending_chain = directory / "pending.key", directory / "pending.pem"
        self._assignment = directory / "assignment.json"

    def load(self) -> StoredDevice:
        """Read what is there, after finishing what a power loss interrupted; files that do not fit count as missing.

        Raises:
            OSError: the directory cannot be read or written.
        """
        pending = _read_pair(self._pending_chain, self._pending_key)
        if pending is not None:
            self._promote(pending)
        return StoredDevice(self._read_assignment(), pending or _read_pair(self._chain, self._key))

    def pending_key(self) -> PrivateKey | None:
        """Read the key that a certificate was asked for, if none has come yet.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            return parse_private_key(self._pending_key.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def save_pending_key(self, key: PrivateKey) -> None:
        """Keep a key before its CSR is sent.

        Raises:
            OSError: it could not be written.
        """
        self._make_directory()
        self._pending_chain.unlink(missing_ok=True)
        write_private(self._pending_key, format_private_key(key))

    def save_assignment(self, assignment: Assignment) -> None:
        """Keep where the device belongs.

        Raises:
            OSError: it could not be written.
        """
        self._make_directory()
        write_atomic(self._assignment, json.dumps(asdict(assignment), indent=2).encode() + b"\n")

    def save_chain(self, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
        """Put the chain and the pending key in the place of the pair in use.

        Raises:
            CertificateMismatch: the chain is incomplete or not for the pending key; the pair in use stays.
            OSError: it could not be written; the pair in use or the new one can still be loaded.
        """
        key = self.pending_key()
        if key is None:
            raise CertificateMismatch(f"no certificate was asked for: there is no key in {self._pending_key}")
        certificate = ClientCertificate(chain, key)
        write_atomic(self._pending_chain, format_pem(*chain))
        self._promote(certificate)
        return certificate

    def _promote(self, certificate: ClientCertificate) -> None:
        write_private(self._key, format_private_key(certificate.key))
        write_atomic(self._chain, format_pem(*certificate.chain))
        # The key first: a chain without its key is not a pair, a key without a chain would be asked for again.
        self._pending_key.unlink(missing_ok=True)
        self._pending_chain.unlink(missing_ok=True)

    def _make_directory(self) -> None:
        self._directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)

    def _read_assignment(self) -> Assignment | None:
        try:
            return Assignment(**json.loads(self._assignment.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


def _read_pair(chain_file: Path, key_file: Path) -> ClientCertificate | None:
    try:
        return ClientCertificate.read(chain_file, key_file)
    except (FileNotFoundError, ValueError, CertificateMismatch):
        return None
