"""The device registry: creates namespaces and policies, keeps device records, issues and revokes certificates."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from adr.audit import AuditTrail
from adr.authorities import Authorities, PublicUrls
from adr.authority import IssuingCa
from adr.credential import DEFAULT_ROOT_NAME, Credential
from adr.device import AdrDevice
from adr.devices import Devices
from adr.errors import (
    AuthorityHasPolicies,
    CredentialHasPolicies,
    NamespaceExists,
    NamespaceNotEmpty,
    NamespaceNotFound,
    PolicyExists,
    PolicyNotFound,
    PolicyRequiresIssuingCa,
)
from adr.issuance import NOBODY, IssuedCertificate, IssuedChain, KnownCertificate, Requester
from adr.issuing import Issuing
from adr.links import Links
from adr.namespace import Namespace, format_namespace, parse_namespace, parse_namespace_name
from adr.parsed import Parsed
from adr.policy import (
    DEFAULT_LEAF_VALIDITY,
    Policy,
    check_leaf_validity,
    format_policy,
    parse_authority_name,
    parse_policy,
    parse_policy_name,
    policy_key,
)
from adr.revocation import Revocations
from adr.revoking import Revoking
from adr.store import Store, each_record
from certs.csr import CertificateRequest
from certs.keyfile import KeyStore

logger = logging.getLogger("adr")

NAMESPACES = "adr.namespaces"
POLICIES = "adr.policies"


class AdrRegistry:
    """All namespaces of a process, with their credentials, policies and devices.

    `public_url` is where issued certificates say that CA certificates and CRLs are. `allow_short_validity` lets
    policies issue for less than seven days. A private key is in the key store before the record that needs it is.
    """

    def __init__(
        self,
        store: Store,
        keys: KeyStore,
        *,
        public_url: str = "http://127.0.0.1:8080",
        allow_short_validity: bool = False,
    ) -> None:
        self.audit = AuditTrail(store)
        self.links = Links(store)
        self.urls = PublicUrls(public_url.rstrip("/"))
        self.authorities = Authorities(store, keys, self.urls)
        self.devices = Devices(store)
        self.revocations = Revocations(store, self.authorities)
        self.issuing = Issuing(self.policy, self.authorities, self.devices, self.urls)
        self.revoking = Revoking(self.authorities, self.devices, self.revocations, self.audit)
        self._store = store
        self._allow_short_validity = allow_short_validity
        self._policies = Parsed(parse_policy)

    # --- namespaces and their credential

    def create_namespace(self, name: str, now: datetime, *, credential: bool = True) -> Namespace:
        """Make a namespace, with its credential (a root CA, P-384 with SHA-384, ten years) unless told otherwise.

        Raises:
            NameInvalid: the name breaks the naming rule.
            NamespaceExists: there is one of this name.

        Source: concept-certificate-issuance.md (documented); the ten years are assumed.
        """
        parse_namespace_name(name)
        if self._store.get(NAMESPACES, name) is not None:
            raise NamespaceExists(f"namespace {name!r} exists already: its root CA would be replaced")
        if credential:
            self.authorities.create_root(name, now)
        namespace = Namespace(name, now)
        self._store.put(NAMESPACES, name, format_namespace(namespace), expected=0)
        logger.info("namespace %s: created%s", name, " with its root CA" if credential else "")
        return namespace

    def namespace(self, name: str) -> Namespace:
        """Return a namespace.

        Raises:
            NamespaceNotFound: there is none of this name.
        """
        record = self._store.get(NAMESPACES, name)
        if record is None:
            raise NamespaceNotFound(f"there is no namespace {name!r}")
        return parse_namespace(name, record.value)

    def namespaces(self) -> list[Namespace]:
        """Return all namespaces in the order of their names."""
        return [parse_namespace(record.key, record.value) for record in each_record(self._store, NAMESPACES)]

    def delete_namespace(self, name: str) -> None:
        """Delete an empty namespace; its credential goes with it.

        Raises:
            NamespaceNotFound: there is none of this name.
            NamespaceNotEmpty: it has issuing CAs, policies or devices (assumed: Azure may delete them along).
        """
        self.namespace(name)
        if self.policies(name) or self.authorities.all_current(name) or self.devices.page(name, limit=1):
            raise NamespaceNotEmpty(f"namespace {name!r} still has policies, certificate authorities or devices")
        roots = self.authorities.roots(name)
        if roots and not roots[-1].is_deleted:
            self.authorities.delete_root(name)
        self._store.delete(NAMESPACES, name)

    def create_credential(self, namespace: str, now: datetime, name: str = DEFAULT_ROOT_NAME) -> Credential:
        """Make the root CA of a namespace that has none.

        Raises:
            NamespaceNotFound, NameInvalid: no such namespace, or no name for a certificate authority.
            CredentialExists: it has one.
        """
        self.namespace(namespace)
        return self.authorities.create_root(namespace, now, parse_authority_name(name))

    def credential(self, namespace: str) -> Credential:
        """Return a namespace's credential.

        Raises:
            NamespaceNotFound, CredentialNotFound: there is none.
        """
        self.namespace(namespace)
        return self.authorities.root(namespace)

    def delete_credential(self, namespace: str) -> None:
        """Delete the root CA; what was issued under it stays good until it expires.

        Raises:
            NamespaceNotFound, CredentialNotFound: there is none.
            CredentialHasPolicies: policies or issuing CAs are left.

        Source: concepts-certificate-policy-management.md §deleting a credential resource (documented).
        """
        self.credential(namespace)
        names = [policy.name for policy in self.policies(namespace)]
        names += [each.name for each in self.authorities.all_current(namespace)]
        if names:
            raise CredentialHasPolicies(
                f"the credential of namespace {namespace!r} cannot be deleted before its policies and issuing CAs: "
                f"{', '.join(dict.fromkeys(names))}"
            )
        self.authorities.delete_root(namespace)
        logger.info("namespace %s: credential deleted", namespace)

    def root(self, namespace: str) -> x509.Certificate:
        """Return a namespace's root certificate.

        Raises:
            NamespaceNotFound, CredentialNotFound: there is none.
        """
        return self.credential(namespace).certificate

    # --- issuing CAs and policies

    def create_issuing_ca(self, namespace: str, name: str, now: datetime, *, external: bool = False) -> IssuingCa:
        """Make an issuing CA under the namespace's root, or one that its owner's CA is to sign.

        Raises:
            NamespaceNotFound, NameInvalid: no such namespace, or no name for a certificate authority.
            AuthorityExists: the namespace has one of this name.
            CredentialNotFound, IssuerExpired, IssuerKeyMissing: the root cannot sign.
        """
        self.namespace(namespace)
        return self.authorities.create(namespace, parse_authority_name(name), now, external=external)

    def create_policy(
        self,
        namespace: str,
        name: str,
        now: datetime,
        *,
        leaf_validity: timedelta = DEFAULT_LEAF_VALIDITY,
        authority: str | None = None,
        external: bool = False,
    ) -> Policy:
        """Make a policy under an issuing CA; without one, an issuing CA of the policy's own name is made.

        `external` has that CA signed by its owner's CA (bring your own root).

        Raises:
            NamespaceNotFound: there is no such namespace.
            NameInvalid: the name breaks the naming rule.
            ValidityOutOfRange: `leaf_validity` is not a whole number of days from 7 to 90.
            PolicyExists: the namespace has one of this name.
            PolicyRequiresIssuingCa: `authority` is the root.
            AuthorityNotFound, AuthorityExists: there is no such issuing CA, or one of the policy's name.
            CredentialNotFound, IssuerExpired, IssuerKeyMissing: the root cannot sign.

        Source: concept-certificate-issuance.md (documented).
        """
        self.namespace(namespace)
        parse_policy_name(name)
        check_leaf_validity(leaf_validity, allow_short=self._allow_short_validity)
        key = policy_key(namespace, name)
        if self._store.get(POLICIES, key) is not None:
            raise PolicyExists(f"namespace {namespace!r} has a policy {name!r} already")
        if authority is None:
            signer = self.authorities.create(namespace, name, now, external=external)
        else:
            self._refuse_root(namespace, authority, name)
            signer = self.authorities.current(namespace, authority)
        policy = Policy(namespace, name, leaf_validity, signer.name, created=now)
        self._store.put(POLICIES, key, format_policy(policy), expected=0)
        logger.info("namespace %s: policy %s created under issuing CA %s", namespace, name, signer.name)
        return policy

    def update_policy(self, namespace: str, name: str, *, leaf_validity: timedelta) -> Policy:
        """Change how long the policy's next leaves live; the issuing CA stays.

        Raises:
            PolicyNotFound: the namespace has none of this name.
            ValidityOutOfRange: `leaf_validity` is not a whole number of days from 7 to 90.
        """
        policy = self.policy(namespace, name)
        check_leaf_validity(leaf_validity, allow_short=self._allow_short_validity)
        changed = replace(policy, leaf_validity=leaf_validity)
        self._store.put(POLICIES, policy_key(namespace, name), format_policy(changed))
        return changed

    def policy(self, namespace: str, name: str) -> Policy:
        """Return a policy; its name compares without case.

        Raises:
            PolicyNotFound: the namespace has none of this name.
        """
        record = self._store.get(POLICIES, policy_key(namespace, name))
        if record is None:
            raise PolicyNotFound(f"namespace {namespace!r} has no policy {name!r}")
        return self._policies.of(record)

    def policies(self, namespace: str) -> list[Policy]:
        """Return a namespace's policies in the order of their names; none for an unknown namespace."""
        prefix = policy_key(namespace, "")
        return [self._policies.of(record) for record in each_record(self._store, POLICIES, prefix)]

    def policies_of(self, namespace: str, authority: str) -> list[Policy]:
        """Return the policies under one issuing CA."""
        return [each for each in self.policies(namespace) if each.authority.lower() == authority.lower()]

    def issuing_ca(self, namespace: str, policy: str) -> IssuingCa:
        """Return the issuing CA of a policy, in its present generation.

        Raises:
            PolicyNotFound: the namespace has none of this name.
        """
        return self.authorities.current(namespace, self.policy(namespace, policy).authority)

    def delete_policy(self, namespace: str, name: str, now: datetime, *, keep_authority: bool = False) -> None:
        """Delete a policy: nothing more is issued under it, what was issued stays good until it expires.

        Its issuing CA goes too when it has no other policy, unless `keep_authority`.

        Raises:
            PolicyNotFound: the namespace has none of this name.

        Source: concepts-certificate-policy-management.md §deleting a policy (documented).
        """
        policy = self.policy(namespace, name)
        self._store.delete(POLICIES, policy_key(namespace, name))
        if not keep_authority and not self.policies_of(namespace, policy.authority):
            self.authorities.retire(namespace, policy.authority, now)
        logger.info("namespace %s: policy %s deleted", namespace, policy.name)

    def delete_issuing_ca(self, namespace: str, name: str, now: datetime) -> None:
        """Delete an issuing CA that has no policies; what it signed stays good until it expires.

        Raises:
            AuthorityNotFound: there is none of this name.
            AuthorityHasPolicies: policies are left under it.
        """
        policies = [policy.name for policy in self.policies_of(namespace, name)]
        if policies:
            raise AuthorityHasPolicies(
                f"issuing CA {name!r} of namespace {namespace!r} cannot be deleted before its policies: "
                f"{', '.join(policies)}"
            )
        self.authorities.retire(namespace, name, now)

    def trust_anchors(self, namespace: str) -> tuple[x509.Certificate, ...]:
        """Return the issuing CAs that a hub linked to this namespace trusts, those that sign no more too.

        Source: concept-certificate-issuance.md: a hub trusts the ICAs of its namespace, not the root (documented).
        """
        return tuple(each.signed for each in self.authorities.trusted(namespace))

    # --- devices

    def register_device(self, namespace: str, device_id: str, policy: str | None, now: datetime) -> AdrDevice:
        """Record a device, or set the policy of one that is there; it keeps its identifier and stays disabled if so.

        Raises:
            NamespaceNotFound, PolicyNotFound: the namespace or the policy does not exist.
        """
        if policy is None:
            self.namespace(namespace)
        else:
            policy = self.policy(namespace, policy).name
        return self.devices.register(namespace, device_id, policy, now)

    def device(self, namespace: str, device_id: str) -> AdrDevice | None:
        """Return a device's record, or None; the ID is case-sensitive."""
        return self.devices.get(namespace, device_id)

    # --- issuing and revoking

    def issue(
        self,
        namespace: str,
        device_id: str,
        request: CertificateRequest,
        now: datetime,
        requester: Requester = NOBODY,  # noqa: ARG002 - for registries that tell requesters apart
    ) -> IssuedChain:
        """Issue an operational certificate under the device's policy; see `Issuing.issue` for what it refuses."""
        return self.issuing.issue(namespace, device_id, request, now)

    def known_certificate(
        self, namespace: str, device_id: str, serial_number: int, thumbprint: str
    ) -> KnownCertificate | None:
        """Return what is known of a certificate that was issued here; see `Issuing.known_certificate`."""
        return self.issuing.known_certificate(namespace, device_id, serial_number, thumbprint)

    def revoke_device(self, namespace: str, device_id: str, now: datetime, *, disable: bool = False) -> AdrDevice:
        """Make every certificate issued for the device so far worthless; see `Revoking.revoke_device`."""
        return self.revoking.revoke_device(namespace, device_id, now, disable=disable)

    def revoke_issuing_ca(self, namespace: str, name: str, now: datetime) -> list[IssuingCa]:
        """Revoke an issuing CA with all it signed, and return it; see `Revoking.revoke_issuing_ca`."""
        return self.revoking.revoke_issuing_ca(namespace, name, now)

    def issued(self, namespace: str, device_id: str) -> list[IssuedCertificate]:
        """Return the notes of every certificate ever issued for the device, in no particular order."""
        return list(self.devices.notes(namespace, device_id))

    def _refuse_root(self, namespace: str, authority: str, policy: str) -> None:
        if self.credential(namespace).name.lower() == authority.lower():
            raise PolicyRequiresIssuingCa(
                f"policy {policy!r} cannot be made under the root {authority!r} of namespace {namespace!r}: "
                "make it under an issuing CA"
            )
