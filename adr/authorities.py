"""The CAs of all namespaces: their roots, their issuing CAs by generation, and what hubs trust of them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from adr.authority import (
    AuthorityState,
    IssuingCa,
    authority_key,
    authority_prefix,
    format_authority,
    hash_public_key,
    parse_authority,
)
from adr.credential import DEFAULT_ROOT_NAME, Credential, credential_key, format_credential, parse_credential
from adr.errors import (
    AuthorityExists,
    AuthorityIsExternal,
    AuthorityIsManaged,
    AuthorityNotActive,
    AuthorityNotFound,
    CertificateChainInvalid,
    CredentialExists,
    CredentialNotFound,
    IssuerExpired,
    IssuerKeyMissing,
)
from adr.issuance import thumbprint_of
from adr.parsed import Parsed
from adr.store import Store, each_record
from certs.authority import MAX_COMMON_NAME, CertificateAuthority, IssuerNotValid
from certs.external_issuer import SignedCaError, check_signed_ca, request_ca_certificate
from certs.keyfile import KeyStore
from certs.keys import KeyType, generate_key

logger = logging.getLogger("adr")

CREDENTIALS = "adr.credentials"
AUTHORITIES = "adr.authorities"


@dataclass(frozen=True, slots=True)
class PublicUrls:
    """Where certificates say that CA certificates and revocation lists are; each generation has its own."""

    base: str

    def revocation_list(self, owner: Credential | IssuingCa) -> str:
        """Address of the revocation list that this CA signs."""
        return f"{self.base}/crl/{_place(owner)}.crl"

    def certificate(self, owner: Credential | IssuingCa) -> str:
        """Address of this CA's certificate."""
        return f"{self.base}/ca/{_place(owner)}.cer"


class Authorities:
    """Makes CAs, signs with them, and follows them through their states. A key is stored before its record is."""

    def __init__(self, store: Store, keys: KeyStore, urls: PublicUrls) -> None:
        self._store = store
        self._keys = keys
        self._urls = urls
        self._credentials = Parsed(parse_credential)
        self._parsed = Parsed(parse_authority)
        self._signers: dict[str, CertificateAuthority] = {}

    # --- roots

    def create_root(self, namespace: str, now: datetime, name: str = DEFAULT_ROOT_NAME) -> Credential:
        """Make a namespace's root CA: P-384 with SHA-384, ten years.

        Raises:
            CredentialExists: it has one.

        Source: concept-certificate-issuance.md (documented); the ten years are assumed.
        """
        present = self.roots(namespace)
        if present and not present[-1].is_deleted:
            raise CredentialExists(f"namespace {namespace!r} has its root CA {present[-1].name!r} already")
        root = CertificateAuthority.create_root(_common_name(namespace, "Root CA"), now)
        credential = Credential(namespace, root.certificate, now, len(present) + 1, name)
        self._keys.save(credential.key_name, root.key)
        return self._put_root(credential)

    def root(self, namespace: str) -> Credential:
        """Return a namespace's present credential.

        Raises:
            CredentialNotFound: it has none.
        """
        roots = self.roots(namespace)
        if not roots or roots[-1].is_deleted:
            raise CredentialNotFound(f"namespace {namespace!r} has no credential")
        return roots[-1]

    def roots(self, namespace: str) -> list[Credential]:
        """Return every root the namespace ever had, oldest first."""
        return [self._credentials.of(record) for record in each_record(self._store, CREDENTIALS, f"{namespace}/")]

    def delete_root(self, namespace: str) -> None:
        """Retire the root: it signs nothing more but its revocation list.

        Raises:
            CredentialNotFound: there is none.
        """
        self._put_root(replace(self.root(namespace), is_deleted=True))

    # --- issuing CAs

    def create(self, namespace: str, name: str, now: datetime, *, external: bool = False) -> IssuingCa:
        """Make an issuing CA: P-384, under the root for two years, or with a request for its owner's CA.

        Raises:
            AuthorityExists: the namespace has one of this name.
            CredentialNotFound: there is no root to sign it.
            IssuerExpired, IssuerKeyMissing: the root cannot sign.

        Source: concept-certificate-issuance.md (documented); the two years are assumed.
        """
        if self._present(namespace, name) or self._is_root_name(namespace, name):
            raise AuthorityExists(f"namespace {namespace!r} has a certificate authority {name!r} already")
        return self._create(namespace, name, now, external=external)

    def current(self, namespace: str, name: str) -> IssuingCa:
        """Return the generation that signs, else the one that waits for its certificate.

        Raises:
            AuthorityNotFound: there is none of this name.
        """
        present = self._present(namespace, name)
        if not present:
            raise AuthorityNotFound(f"namespace {namespace!r} has no issuing CA {name!r}")
        return next((each for each in present if each.state is AuthorityState.ACTIVE), present[-1])

    def pending(self, namespace: str, name: str) -> IssuingCa | None:
        """Return the generation that waits for its signed certificate, if one does."""
        return next((each for each in self._present(namespace, name) if each.state is AuthorityState.PENDING), None)

    def all_current(self, namespace: str) -> list[IssuingCa]:
        """Return the issuing CAs that are not deleted, in the order of their names."""
        names = dict.fromkeys(each.name.lower() for each in self.generations(namespace) if _is_present(each))
        return [self.current(namespace, name) for name in names]

    def generations(self, namespace: str, name: str | None = None) -> list[IssuingCa]:
        """Return every generation of one name or of all, oldest first within a name."""
        prefix = f"{namespace}/" if name is None else authority_prefix(namespace, name)
        return [self._parsed.of(record) for record in each_record(self._store, AUTHORITIES, prefix)]

    def trusted(self, namespace: str) -> list[IssuingCa]:
        """Return the generations whose leaves the hubs of the namespace accept."""
        return [each for each in self.generations(namespace) if each.is_trusted]

    def find(self, certificate: x509.Certificate) -> IssuingCa | None:
        """Return the issuing CA, of any namespace and in any state, whose key this CA certificate holds."""
        try:
            key_hash = hash_public_key(certificate.public_key())
        except (ValueError, UnsupportedAlgorithm):
            return None  # not even a key of a kind that is ever made here
        every = (self._parsed.of(record) for record in each_record(self._store, AUTHORITIES))
        return next((each for each in every if each.key_hash == key_hash), None)

    def activate(self, namespace: str, name: str, chain: Sequence[x509.Certificate], now: datetime) -> IssuingCa:
        """Take the signed certificate of an external CA; the generation before it is retired.

        Raises:
            AuthorityNotFound: there is none of this name.
            AuthorityIsManaged: it is signed by the namespace's root, or does not wait for a certificate.
            CertificateChainInvalid: the chain breaks a rule.
        """
        pending = self.pending(namespace, name)
        if pending is None:
            self.current(namespace, name)
            raise AuthorityIsManaged(f"issuing CA {name!r} of namespace {namespace!r} waits for no signed certificate")
        assert pending.request is not None
        request = x509.load_pem_x509_csr(pending.request.encode())
        try:
            check_signed_ca(request, chain, now)
        except SignedCaError as error:
            raise CertificateChainInvalid(str(error)) from error
        for former in self._present(namespace, name):
            if former.state is AuthorityState.ACTIVE:
                self._put(replace(former, state=AuthorityState.RETIRED, changed=now))
        logger.info("namespace %s: issuing CA %s activated", namespace, pending.key_name)
        return self._put(
            replace(
                pending,
                state=AuthorityState.ACTIVE,
                changed=now,
                certificate=chain[0],
                thumbprint=thumbprint_of(chain[0]),
                issuers=tuple(chain[1:]),
                request=None,
            )
        )

    def rotate(self, authority: IssuingCa, now: datetime) -> IssuingCa:
        """Make the next generation under the root; what the former one signed lives on.

        Raises:
            CredentialNotFound, IssuerExpired, IssuerKeyMissing: the root cannot sign.
        """
        following = self._create(authority.namespace, authority.name, now, external=False)
        self._put(replace(authority, state=AuthorityState.RETIRED, changed=now))
        self._drop_expired(authority.namespace, authority.name, now)
        return following

    def request_renewal(self, authority: IssuingCa, now: datetime) -> IssuingCa:
        """Ask the owner of an external CA for the next generation's certificate, once."""
        present = self.pending(authority.namespace, authority.name)
        return present or self._create(authority.namespace, authority.name, now, external=True)

    def revoke(self, namespace: str, name: str, now: datetime) -> tuple[list[IssuingCa], IssuingCa]:
        """Revoke every trusted generation of a name and make a new one; return the revoked ones, and the new.

        Raises:
            AuthorityNotFound: there is none of this name.
            AuthorityIsExternal: only its owner's CA can revoke it.
            CredentialNotFound, IssuerExpired, IssuerKeyMissing: the root cannot sign a new one; nothing is revoked.

        Source: concepts-certificate-policy-management.md §revoking a policy (documented).
        """
        present = self.current(namespace, name)
        if present.is_external:
            raise AuthorityIsExternal(
                f"issuing CA {name!r} of namespace {namespace!r} is signed by an external CA: revoke it there"
            )
        former = [each for each in self.generations(namespace, name) if each.is_trusted]
        following = self._create(namespace, present.name, now, external=False)
        revoked = [self._put(replace(each, state=AuthorityState.REVOKED, changed=now)) for each in former]
        logger.warning("namespace %s: issuing CA %s revoked, %s follows", namespace, name, following.key_name)
        return revoked, following

    def retire(self, namespace: str, name: str, now: datetime) -> None:
        """Delete an issuing CA: it signs no more, what it signed lives on.

        Raises:
            AuthorityNotFound: there is none of this name.
        """
        self.current(namespace, name)
        for each in self._present(namespace, name):
            if each.state is AuthorityState.PENDING:
                self._store.delete(AUTHORITIES, authority_key(namespace, name, each.generation))
            else:
                self._put(replace(each, state=AuthorityState.RETIRED, changed=now))

    # --- signing

    def signer(self, owner: Credential | IssuingCa) -> CertificateAuthority:
        """Join a CA certificate with its private key, which is read once.

        Raises:
            AuthorityNotActive: it has no certificate yet.
            IssuerKeyMissing: the key is not in the key store, or is another's.
        """
        if isinstance(owner, IssuingCa) and owner.certificate is None:
            raise AuthorityNotActive(
                f"issuing CA {owner.name!r} of namespace {owner.namespace!r} waits for its signed certificate"
            )
        known = self._signers.get(owner.key_name)
        if known is not None and known.certificate is owner.signed:
            return known
        try:
            key = self._keys.load(owner.key_name)
        except ValueError as error:
            raise IssuerKeyMissing(f"the private key {owner.key_name!r} is damaged: {error}") from error
        if key is None or key.public_key() != owner.signed.public_key():
            raise IssuerKeyMissing(f"the private key {owner.key_name!r} is missing or belongs to another certificate")
        signer = self._signers[owner.key_name] = CertificateAuthority(owner.signed, key)
        return signer

    # --- how

    def _create(self, namespace: str, name: str, now: datetime, *, external: bool) -> IssuingCa:
        generations = self.generations(namespace, name)
        generation = generations[-1].generation + 1 if generations else 1
        common_name = _common_name(namespace, f"{name} ICA")
        blank = IssuingCa(namespace, name, generation, AuthorityState.PENDING, external, created=now, changed=now)
        if external:
            key = generate_key(KeyType.P384)
            request = request_ca_certificate(common_name, key).public_bytes(Encoding.PEM).decode()
            made = replace(blank, request=request, key_hash=hash_public_key(key.public_key()))
        else:
            root = self.root(namespace)
            issued = self._issue_intermediate(root, common_name, now)
            key = issued.key
            made = replace(
                blank,
                state=AuthorityState.ACTIVE,
                certificate=issued.certificate,
                thumbprint=thumbprint_of(issued.certificate),
                issuers=(root.certificate,),
                key_hash=hash_public_key(key.public_key()),
            )
        self._keys.save(made.key_name, key)
        return self._put(made)

    def _issue_intermediate(self, root: Credential, common_name: str, now: datetime) -> CertificateAuthority:
        urls = self._urls
        try:
            return self.signer(root).issue_intermediate(
                common_name, now, crl_url=urls.revocation_list(root), issuer_url=urls.certificate(root)
            )
        except IssuerNotValid as error:
            raise IssuerExpired(str(error)) from error

    def _drop_expired(self, namespace: str, name: str, now: datetime) -> None:
        """Trust no longer what has expired: a leaf never outlives its issuer."""
        for each in self.generations(namespace, name):
            if each.state is AuthorityState.RETIRED and each.signed.not_valid_after_utc <= now:
                self._put(replace(each, state=AuthorityState.EXPIRED, changed=now))

    def _is_root_name(self, namespace: str, name: str) -> bool:
        roots = self.roots(namespace)
        return bool(roots) and not roots[-1].is_deleted and roots[-1].name.lower() == name.lower()

    def _present(self, namespace: str, name: str) -> list[IssuingCa]:
        return [each for each in self.generations(namespace, name) if _is_present(each)]

    def _put(self, authority: IssuingCa) -> IssuingCa:
        key = authority_key(authority.namespace, authority.name, authority.generation)
        self._store.put(AUTHORITIES, key, format_authority(authority))
        return authority

    def _put_root(self, credential: Credential) -> Credential:
        key = credential_key(credential.namespace, credential.generation)
        self._store.put(CREDENTIALS, key, format_credential(credential))
        return credential


def _is_present(authority: IssuingCa) -> bool:
    return authority.state in {AuthorityState.ACTIVE, AuthorityState.PENDING}


def _place(owner: Credential | IssuingCa) -> str:
    if isinstance(owner, Credential):
        return f"{owner.namespace}.{owner.generation}"
    return f"{owner.namespace}/{owner.name}.{owner.generation}"


def _common_name(namespace: str, role: str) -> str:
    """Name a CA by its namespace and role, within what a common name holds; keys tell namesakes apart."""
    return f"{namespace} {role}"[:MAX_COMMON_NAME]
