"""The CA certificates registered on one hub: the trust anchors of devices that ADR did not issue for."""

import base64
import json

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from adr.store import Store
from hub.errors import ArgumentInvalid, CertificateNotFound, GenericForbidden

MAX_CERTIFICATES = 25


class HubCertificates:
    """CA certificates by name; only verified ones are trust anchors."""

    def __init__(self, store: Store, hub_name: str) -> None:
        self._store = store
        self._table = f"{hub_name}.certificates"
        # Parsed certificates by the stored text they came from, so a rollback cannot make one stale.
        self._parsed: dict[str, x509.Certificate | None] = {}

    def add(self, name: str, certificate: x509.Certificate, *, verified: bool = True) -> None:
        """Register a CA certificate, or replace the one with this name.

        Raises:
            ArgumentInvalid: it is not a CA certificate.
            GenericForbidden: the hub holds 25 already.

        Source: authenticate-authorize-x509.md (documented).
        """
        if not _is_authority(certificate):
            subject = certificate.subject.rfc4514_string()
            raise ArgumentInvalid(
                f"certificate {name!r} ({subject}) is not a CA certificate: no basicConstraints CA:TRUE"
            )
        if self._store.get(self._table, name) is None and len(self.names()) >= MAX_CERTIFICATES:
            raise GenericForbidden(f"the hub holds {MAX_CERTIFICATES} CA certificates; {name!r} is one more")
        der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        self._store.put(self._table, name, json.dumps({"certificate": der, "verified": verified}))

    def remove(self, name: str) -> None:
        """Forget a CA certificate.

        Raises:
            CertificateNotFound: none has this name.
        """
        if not self._store.delete(self._table, name):
            raise CertificateNotFound(f"the hub has no CA certificate {name!r}")

    def names(self) -> list[str]:
        """Name the registered certificates, verified or not."""
        return [record.key for record in self._store.list(self._table)]

    def anchors(self) -> tuple[x509.Certificate, ...]:
        """The verified CA certificates, in the order of their names."""
        parsed = {
            record.value: self._parsed.get(record.value) or _parse(record.value)
            for record in self._store.list(self._table)
        }
        self._parsed = parsed
        return tuple(certificate for certificate in parsed.values() if certificate)


def _parse(value: str) -> x509.Certificate | None:
    fields = json.loads(value)
    if not fields["verified"]:
        return None
    return x509.load_der_x509_certificate(base64.b64decode(fields["certificate"]))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
