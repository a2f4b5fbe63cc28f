"""Certificates of the emulator itself (server CA, server leaves, development CA), with their private keys."""

import json
from base64 import b64decode
from datetime import datetime, timedelta

from cryptography import x509

from adr.store import Store, StoreError
from certs.authority import CertificateAuthority
from certs.keyfile import KeyStore
from certs.keys import KeyType, PrivateKey, generate_key
from certs.pem import format_base64_der

TABLE = "emulator.certificates"
# Renewed at a start when less than this is left.
RENEWAL_MARGIN = timedelta(days=30)


class KeptCertificates:
    """Certificates by name, each with a private key of the same name in the key store.

    Raises:
        StoreError: a key or a record cannot be read.
    """

    def __init__(self, store: Store, keys: KeyStore) -> None:
        self._store = store
        self._keys = keys

    def certificate(self, name: str) -> x509.Certificate | None:
        """Return a certificate, None when there is none of this name."""
        record = self._store.get(TABLE, name)
        if record is None:
            return None
        return x509.load_der_x509_certificate(b64decode(json.loads(record.value)["certificate"]))

    def authority(self, name: str) -> CertificateAuthority | None:
        """Return a certificate with its key, None when either is missing or they do not belong together."""
        certificate, key = self.certificate(name), self._load(name)
        if certificate is None or key is None or key.public_key() != certificate.public_key():
            return None
        return CertificateAuthority(certificate, key)

    def key(self, name: str, key_type: KeyType) -> PrivateKey:
        """Return the key of this name, made at the first call."""
        key = self._load(name)
        if key is None:
            key = generate_key(key_type)
            self._keys.save(name, key)
        return key

    def keep(self, name: str, authority: CertificateAuthority) -> CertificateAuthority:
        """Store a certificate and its key, over those of the same name."""
        self._keys.save(name, authority.key)
        self.keep_certificate(name, authority.certificate)
        return authority

    def keep_certificate(self, name: str, certificate: x509.Certificate) -> None:
        """Store a certificate for the key that is there already."""
        self._store.put(TABLE, name, json.dumps({"certificate": format_base64_der(certificate)}))

    def _load(self, name: str) -> PrivateKey | None:
        try:
            return self._keys.load(name)
        except ValueError as error:
            raise StoreError(f"a private key of the state is damaged: {error}") from error


def is_fresh(certificate: x509.Certificate, *moments: datetime) -> bool:
    """Tell whether a certificate is valid at these moments and will be so for a month after each."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc - RENEWAL_MARGIN
    return all(first <= moment < last for moment in moments)
