"""Credentials: the one root CA of a namespace."""

import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from certs.pem import format_base64_der


@dataclass(frozen=True, slots=True)
class Credential:
    """A namespace's credential: its root certificate, P-384. The private key is in the key store."""

    namespace: str
    certificate: x509.Certificate
    created: datetime

    @property
    def key_name(self) -> str:
        """Name of the root's private key in the key store."""
        return f"{self.namespace}.root"


def format_credential(credential: Credential) -> str:
    """Write a credential as the JSON text that is stored under its namespace's name."""
    return json.dumps(
        {"certificate": format_base64_der(credential.certificate), "created": credential.created.isoformat()}
    )


def parse_credential(namespace: str, text: str) -> Credential:
    """Read a stored credential."""
    fields = json.loads(text)
    certificate = x509.load_der_x509_certificate(b64decode(fields["certificate"]))
    return Credential(namespace, certificate, datetime.fromisoformat(fields["created"]))
