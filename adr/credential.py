"""Credentials: the root CA of a namespace, one at a time."""

import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from adr.issuance import thumbprint_of
from certs.pem import format_base64_der

# Its name as a certificate authority, where the API has no name for it. Source: assumed.
DEFAULT_ROOT_NAME = "default-root"


@dataclass(frozen=True, slots=True)
class Credential:
    """A namespace's credential: its root certificate, P-384. The private key is in the key store.

    `generation` counts the roots the namespace has had, from 1. A deleted one signs nothing but its revocation list.
    """

    namespace: str
    certificate: x509.Certificate
    created: datetime
    generation: int = 1
    name: str = DEFAULT_ROOT_NAME
    is_deleted: bool = False

    @property
    def key_name(self) -> str:
        """Name of the root's private key in the key store; no issuing CA's key has such a name."""
        return f"{self.namespace}.root-{self.generation}"

    @property
    def thumbprint(self) -> str:
        """SHA-256 thumbprint of the root certificate, upper-case hex."""
        return thumbprint_of(self.certificate)

    @property
    def signed(self) -> x509.Certificate:
        """The root certificate: what a credential and an issuing CA have in common."""
        return self.certificate


def format_credential(credential: Credential) -> str:
    """Write a credential as the JSON text that is stored under `credential_key`."""
    return json.dumps(
        {
            "certificate": format_base64_der(credential.certificate),
            "created": credential.created.isoformat(),
            "name": credential.name,
            "deleted": credential.is_deleted,
        }
    )


def parse_credential(key: str, text: str) -> Credential:
    """Read a stored credential."""
    namespace, _, generation = key.partition("/")
    fields = json.loads(text)
    return Credential(
        namespace=namespace,
        certificate=x509.load_der_x509_certificate(b64decode(fields["certificate"])),
        created=datetime.fromisoformat(fields["created"]),
        generation=int(generation),
        name=fields["name"],
        is_deleted=fields["deleted"],
    )


def credential_key(namespace: str, generation: int) -> str:
    """Return the key a credential is stored under."""
    return f"{namespace}/{generation:06d}"
