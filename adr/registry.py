"""The device registry: creates namespaces and policies, keeps device records, issues operational certificates."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from cryptography import x509

from adr.audit import AuditTrail
from adr.credential import Credential, format_credential, parse_credential
from adr.device import AdrDevice, device_key, format_device, parse_device
from adr.errors import (
    CommonNameTooLong,
    DeviceDisabled,
    DeviceHasNoPolicy,
    DeviceNotFound,
    IssuerExpired,
    IssuerKeyMissing,
    NamespaceExists,
    NamespaceNotFound,
    PolicyExists,
    PolicyNotFound,
)
from adr.issuance import IssuedCertificate, IssuedChain, format_issued, issued_key, parse_issued, thumbprint_of
from adr.namespace import Namespace, format_namespace, parse_namespace, parse_namespace_name
from adr.parsed import Parsed
from adr.policy import (
    DEFAULT_LEAF_VALIDITY,
    Policy,
    check_leaf_validity,
    format_policy,
    parse_policy,
    parse_policy_name,
    policy_key,
)
from adr.store import Store, each_record
from certs.authority import MAX_COMMON_NAME, CertificateAuthority, IssuerNotValid
from certs.csr import CertificateRequest
from certs.keyfile import KeyStore

logger = logging.getLogger("adr")

NAMESPACES = "adr.namespaces"
CREDENTIALS = "adr.credentials"
POLICIES = "adr.policies"
DEVICES = "adr.devices"
CERTIFICATES = "adr.certificates"


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
        self._store = store
        self._keys = keys
        self._public_url = public_url.rstrip("/")
        self._allow_short_validity = allow_short_validity
        self._credentials = Parsed(parse_credential)
        self._policies = Parsed(parse_policy)
        self._authorities: dict[str, CertificateAuthority] = {}

    def create_namespace(self, name: str, now: datetime) -> Namespace:
        """Make a namespace and its credential: a root CA, P-384 with SHA-384, ten years.

        Raises:
            NameInvalid: the name breaks the naming rule.
            NamespaceExists: there is one of this name.

        Source: concept-certificate-issuance.md (documented); the ten years are assumed.
        """
        parse_namespace_name(name)
        if self._store.get(NAMESPACES, name) is not None:
            raise NamespaceExists(f"namespace {name!r} exists already: its root CA would be replaced")
        root = CertificateAuthority.create_root(_common_name(name, "Root CA"), now)
        credential = Credential(name, root.certificate, now)
        self._keys.save(credential.key_name, root.key)
        self._store.put(CREDENTIALS, name, format_credential(credential))
        namespace = Namespace(name, now)
        self._store.put(NAMESPACES, name, format_namespace(namespace), expected=0)
        logger.info("namespace %s: created with its root CA", name)
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

    def root(self, namespace: str) -> x509.Certificate:
        """Return a namespace's root certificate.

        Raises:
            NamespaceNotFound: there is none of this name.
        """
        return self._credential(namespace).certificate

    def create_policy(
        self, namespace: str, name: str, now: datetime, *, leaf_validity: timedelta = DEFAULT_LEAF_VALIDITY
    ) -> Policy:
        """Make a policy and its issuing CA under the namespace's root: P-384 with SHA-384, two years.

        Raises:
            NamespaceNotFound: there is no such namespace.
            NameInvalid: the name breaks the naming rule.
            ValidityOutOfRange: `leaf_validity` is not a whole number of days from 7 to 90.
            PolicyExists: the namespace has one of this name.
            IssuerExpired, IssuerKeyMissing: the root cannot sign.

        Source: concept-certificate-issuance.md (documented); the two years are assumed.
        """
        self.namespace(namespace)
        parse_policy_name(name)
        check_leaf_validity(leaf_validity, allow_short=self._allow_short_validity)
        key = policy_key(namespace, name)
        if self._store.get(POLICIES, key) is not None:
            raise PolicyExists(f"namespace {namespace!r} has a policy {name!r} already")
        issuing_ca = self._create_issuing_ca(namespace, name, now)
        policy = Policy(namespace, name, leaf_validity, issuing_ca.certificate, generation=1, created=now)
        self._keys.save(policy.key_name, issuing_ca.key)
        self._store.put(POLICIES, key, format_policy(policy), expected=0)
        logger.info("namespace %s: policy %s created with its issuing CA", namespace, name)
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

    def replace_issuer(self, namespace: str, name: str, now: datetime, *, trust_former: bool) -> Policy:
        """Give a policy its next issuing CA, with a key of its own; from now on that one issues.

        With `trust_former` the leaves of the ICAs before it stay good until they expire, else all are refused.

        Raises:
            PolicyNotFound: the namespace has none of this name.
            IssuerExpired, IssuerKeyMissing: the root cannot sign.
        """
        policy = self.policy(namespace, name)
        issuing_ca = self._create_issuing_ca(namespace, policy.name, now)
        # A leaf never outlives its ICA: when the ICA has expired, so have all its leaves.
        former = tuple(each for each in policy.trusted if each.not_valid_after_utc > now) if trust_former else ()
        changed = replace(policy, certificate=issuing_ca.certificate, generation=policy.generation + 1, former=former)
        self._keys.save(changed.key_name, issuing_ca.key)
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

    def trust_anchors(self, namespace: str) -> tuple[x509.Certificate, ...]:
        """Return the issuing CAs that a hub linked to this namespace trusts.

        Source: concept-certificate-issuance.md: a hub trusts the ICAs of its namespace, not the root (documented).
        """
        return tuple(certificate for policy in self.policies(namespace) for certificate in policy.trusted)

    def register_device(self, namespace: str, device_id: str, policy: str | None, now: datetime) -> AdrDevice:
        """Record a device, or set the policy of one that is there; it keeps its identifier and stays disabled if so.

        Raises:
            NamespaceNotFound, PolicyNotFound: the namespace or the policy does not exist.
        """
        if policy is None:
            self.namespace(namespace)
        else:
            policy = self.policy(namespace, policy).name
        present = self.device(namespace, device_id)
        if present is None:
            return self._put(namespace, AdrDevice(device_id, uuid4(), policy, enabled=True, created=now))
        if present.policy == policy:
            return present
        return self._put(namespace, replace(present, policy=policy))

    def device(self, namespace: str, device_id: str) -> AdrDevice | None:
        """Return a device's record, or None; the ID is case-sensitive."""
        record = self._store.get(DEVICES, device_key(namespace, device_id))
        return parse_device(record.value) if record else None

    def revoke_device(self, namespace: str, device_id: str, *, disable: bool = False) -> AdrDevice:
        """Make every certificate issued for the device so far worthless, by giving it a new identifier.

        Raises:
            DeviceNotFound: the namespace has no such device.

        Source: concepts-certificate-policy-management.md §revoke (documented).
        """
        device = self._require_device(namespace, device_id)
        enabled = device.enabled and not disable
        logger.info("device %s of namespace %s: revoked, enabled %s", device_id, namespace, enabled)
        return self._put(namespace, replace(device, identifier=uuid4(), enabled=enabled))

    def issue(self, namespace: str, device_id: str, request: CertificateRequest, now: datetime) -> IssuedChain:
        """Issue an operational certificate under the device's policy, and keep a note of it.

        Its CN is the device ID as registered, whatever the case of the letters in the request.

        Raises:
            DeviceNotFound, DeviceDisabled, DeviceHasNoPolicy: there is nothing to issue for or under.
            PolicyNotFound: the device's policy is gone.
            CommonNameTooLong: the device ID has more than 64 characters.
            IssuerExpired, IssuerKeyMissing: the issuing CA cannot sign.
        """
        device = self._require_device(namespace, device_id)
        policy = self._issuing_policy(namespace, device)
        leaf = self._sign(policy, device, request, now)
        chain = IssuedChain(leaf, policy.certificate, self._credential(namespace).certificate)
        serial_number = chain.serial_number
        note = IssuedCertificate(
            device_id,
            serial_number,
            policy.name,
            leaf.not_valid_after_utc,
            thumbprint_of(leaf),
            thumbprint_of(policy.certificate),
        )
        self._store.put(CERTIFICATES, issued_key(namespace, device_id, serial_number), format_issued(note))
        logger.info("device %s: issued %s by policy %s", device_id, serial_number, policy.name)
        return chain

    def known_issuer(
        self, namespace: str, device_id: str, serial_number: int, thumbprint: str
    ) -> x509.Certificate | None:
        """Return the trust anchor that signed this very certificate, if the note of its issuance says so.

        Spares the check of a signature that was made here: the thumbprint is over the whole certificate, signature
        included. An issuer that is no trust anchor any more does not count.

        Args:
            namespace: the namespace's name.
            device_id: whose certificate it is.
            serial_number: its serial number.
            thumbprint: its SHA-256 in upper-case hex.
        """
        key = issued_key(namespace, device_id, f"{serial_number:x}")
        record = self._store.get(CERTIFICATES, key)
        note = parse_issued(key, record.value) if record else None
        if note is None or not note.thumbprint or note.thumbprint != thumbprint:
            return None
        anchors = self.trust_anchors(namespace)
        return next((each for each in anchors if thumbprint_of(each) == note.issuer_thumbprint), None)

    def issued(self, namespace: str, device_id: str) -> list[IssuedCertificate]:
        """Return the notes of every certificate ever issued for the device, in no particular order."""
        prefix = issued_key(namespace, device_id, "")
        return [parse_issued(record.key, record.value) for record in each_record(self._store, CERTIFICATES, prefix)]

    def _issuing_policy(self, namespace: str, device: AdrDevice) -> Policy:
        if not device.enabled:
            raise DeviceDisabled(f"device {device.device_id!r} is disabled in namespace {namespace!r}")
        if device.policy is None:
            raise DeviceHasNoPolicy(f"device {device.device_id!r} has no policy in namespace {namespace!r}")
        if len(device.device_id) > MAX_COMMON_NAME:
            raise CommonNameTooLong(
                f"device ID {device.device_id!r} has {len(device.device_id)} characters: "
                f"a common name holds {MAX_COMMON_NAME}"
            )
        return self.policy(namespace, device.policy)

    def _sign(self, policy: Policy, device: AdrDevice, request: CertificateRequest, now: datetime) -> x509.Certificate:
        path = f"{policy.namespace}/{policy.name}"
        try:
            return self._authority(policy).issue_operational(
                device.device_id,
                request.public_key,
                device.identifier,
                now,
                validity=policy.leaf_validity,
                crl_url=f"{self._public_url}/crl/{path}.crl",
                issuer_url=f"{self._public_url}/ca/{path}.cer",
            )
        except IssuerNotValid as error:
            raise IssuerExpired(str(error)) from error

    def _create_issuing_ca(self, namespace: str, policy: str, now: datetime) -> CertificateAuthority:
        root = self._authority(self._credential(namespace))
        try:
            return root.issue_intermediate(_common_name(namespace, f"{policy} ICA"), now)
        except IssuerNotValid as error:
            raise IssuerExpired(str(error)) from error

    def _credential(self, namespace: str) -> Credential:
        record = self._store.get(CREDENTIALS, namespace)
        if record is None:
            raise NamespaceNotFound(f"there is no namespace {namespace!r}")
        return self._credentials.of(record)

    def _authority(self, owner: Credential | Policy) -> CertificateAuthority:
        """Join a CA certificate with its private key, which is read once."""
        known = self._authorities.get(owner.key_name)
        if known is not None and known.certificate is owner.certificate:
            return known
        try:
            key = self._keys.load(owner.key_name)
        except ValueError as error:
            raise IssuerKeyMissing(f"the private key {owner.key_name!r} is damaged: {error}") from error
        if key is None or key.public_key() != owner.certificate.public_key():
            raise IssuerKeyMissing(f"the private key {owner.key_name!r} is missing or belongs to another certificate")
        authority = self._authorities[owner.key_name] = CertificateAuthority(owner.certificate, key)
        return authority

    def _require_device(self, namespace: str, device_id: str) -> AdrDevice:
        device = self.device(namespace, device_id)
        if device is None:
            raise DeviceNotFound(f"namespace {namespace!r} has no device {device_id!r}")
        return device

    def _put(self, namespace: str, device: AdrDevice) -> AdrDevice:
        self._store.put(DEVICES, device_key(namespace, device.device_id), format_device(device))
        return device


def _common_name(namespace: str, role: str) -> str:
    """Name a CA by its namespace and role, within what a common name holds; keys tell namesakes apart."""
    return f"{namespace} {role}"[:MAX_COMMON_NAME]
