"""Issuing CAs: each generation of a certificate authority that signs for devices, and what became of it."""

import json
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs.pem import format_base64_der


class AuthorityState(StrEnum):
    """Where one generation of an issuing CA is in its life."""

    PENDING = "pendingActivation"
    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"
    EXPIRED = "expired"


# The generations whose leaves hubs accept: a retired one signs no more, but what it signed lives on.
TRUSTED_STATES = frozenset({AuthorityState.ACTIVE, AuthorityState.RETIRED})


@dataclass(frozen=True, slots=True)
class IssuingCa:
    """One generation of an issuing CA, with its own key. Its name compares without case, as all ARM names do.

    Attributes:
        namespace: where it belongs.
        name: the certificate authority's name; a policy made in the first generation of the API has one of its own.
        generation: from 1; revoking, rotating or making it anew counts on.
        state: only an active one signs.
        is_external: signed by its owner's CA, not by the namespace's root.
        created: when its key was made.
        changed: when it came to this state.
        certificate: None until it is activated.
        issuers: the CAs above it as far as known, the nearest first.
        request: the PKCS#10 request in PEM of an external one.
        key_hash: SHA-256 of its public key, upper-case hex.
        thumbprint: SHA-256 of its certificate, upper-case hex; kept, as every connect of a device compares it.
    """

    namespace: str
    name: str
    generation: int
    state: AuthorityState
    is_external: bool
    created: datetime
    changed: datetime
    certificate: x509.Certificate | None = None
    issuers: tuple[x509.Certificate, ...] = ()
    request: str | None = None
    key_hash: str = ""
    thumbprint: str = ""

    @property
    def key_name(self) -> str:
        """Name of its private key in the key store."""
        return f"{self.namespace}.{self.name.lower()}.{self.generation}"

    @property
    def signed(self) -> x509.Certificate:
        """Its certificate, which every generation but a pending one has."""
        assert self.certificate is not None, f"{self.key_name} is not activated"
        return self.certificate

    @property
    def is_trusted(self) -> bool:
        """Whether hubs linked to the namespace accept what it signed."""
        return self.state in TRUSTED_STATES


def hash_public_key(key: object) -> str:
    """Return the SHA-256 of a public key's SubjectPublicKeyInfo in upper-case hex.

    Raises:
        TypeError: it is no public key.
    """
    if not hasattr(key, "public_bytes"):
        raise TypeError(f"a {type(key).__name__} is no public key")
    digest = Hash(SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex().upper()


def format_authority(authority: IssuingCa) -> str:
    """Write an issuing CA as the JSON text that is stored under `authority_key`."""
    return json.dumps(
        {
            "name": authority.name,
            "state": authority.state.value,
            "external": authority.is_external,
            "created": authority.created.isoformat(),
            "changed": authority.changed.isoformat(),
            "certificate": None if authority.certificate is None else format_base64_der(authority.certificate),
            "issuers": [format_base64_der(issuer) for issuer in authority.issuers],
            "request": authority.request,
            "keyHash": authority.key_hash,
            "thumbprint": authority.thumbprint,
        }
    )


def parse_authority(key: str, text: str) -> IssuingCa:
    """Read a stored issuing CA."""
    namespace, _, generation = key.split("/")
    fields = json.loads(text)
    return IssuingCa(
        namespace=namespace,
        name=fields["name"],
        generation=int(generation),
        state=AuthorityState(fields["state"]),
        is_external=fields["external"],
        created=datetime.fromisoformat(fields["created"]),
        changed=datetime.fromisoformat(fields["changed"]),
        certificate=None if fields["certificate"] is None else _certificate(fields["certificate"]),
        issuers=tuple(_certificate(issuer) for issuer in fields["issuers"]),
        request=fields["request"],
        key_hash=fields["keyHash"],
        thumbprint=fields["thumbprint"],
    )


def authority_key(namespace: str, name: str, generation: int) -> str:
    """Return the key a generation is stored under: those of one name are one run, oldest first."""
    return f"{authority_prefix(namespace, name)}{generation:06d}"


def authority_prefix(namespace: str, name: str) -> str:
    """Return what the keys of all generations of a name begin with."""
    return f"{namespace}/{name.lower()}/"


def _certificate(text: str) -> x509.Certificate:
    return x509.load_der_x509_certificate(b64decode(text))
