"""Authentication by a client certificate: by thumbprint, by a CA registered on the hub, or issued through ADR."""

from datetime import datetime
from uuid import UUID

from cryptography import x509

from adr.authority import IssuingCa
from adr.issuance import KnownCertificate
from adr.links import LinkedKind
from adr.registry import AdrRegistry
from certs.extensions import serial_number_of, single_common_name
from certs.identifier import device_identifier
from certs.path import PathRefusal, ValidPath, validate_path
from certs.peer import PeerChain
from hub.certificates import HubCertificates
from hub.grant import AuthMethod, Denial, Grant
from hub.identity import Authentication
from hub.settings import HubSettings
from hub.user_name import UserName


class CertificateAccess:
    """Decides by the certificates of this connection's handshake."""

    def __init__(self, settings: HubSettings, certificates: HubCertificates, adr: AdrRegistry) -> None:
        self._settings = settings
        self._certificates = certificates
        self._adr = adr
        self._link = adr.links.of(LinkedKind.HUB, settings.name, settings.namespace)

    def check_thumbprint(
        self, user: UserName, authentication: Authentication, chain: PeerChain, now: datetime
    ) -> Grant | Denial:
        """Compare the leaf's SHA-1 or SHA-256 with the registered thumbprints; it must be within its validity.

        Source: authenticate-authorize-x509.md, troubleshoot-error-codes.md 401003 (documented); that validity
        counts for thumbprints too is assumed.
        """
        leaf = _leaf(chain)
        if isinstance(leaf, Denial):
            return leaf
        registered = (authentication.primary_thumbprint, authentication.secondary_thumbprint)
        if not {chain.sha1_thumbprint, chain.sha256_thumbprint} & {text.upper() for text in registered if text}:
            return Denial(
                f"{user.client_id}: Thumbprint does not match configuration: Thumbprint: "
                f"SHA1Hash={chain.sha1_thumbprint}, SHA2Hash={chain.sha256_thumbprint}; Configuration: "
                f"PrimaryThumbprint={registered[0]}, SecondaryThumbprint={registered[1]}"
            )
        return _check_validity(leaf, now) or Grant(AuthMethod.THUMBPRINT)

    def check_authority(self, user: UserName, chain: PeerChain, now: datetime) -> Grant | Denial:
        """Check the common name, then the path to a trust anchor, then, if ADR issued it, the device identifier.

        Trust anchors are the issuing CAs of the linked namespace and the CAs registered on the hub.

        Source: authenticate-authorize-x509.md, concepts-certificate-policy-management.md (documented).
        """
        leaf = _leaf(chain)
        if isinstance(leaf, Denial):
            return leaf
        common_name = single_common_name(leaf.subject)
        if common_name != user.client_id:
            return Denial(
                f"certificate CN is {common_name!r} (subject {leaf.subject.rfc4514_string()!r}), "
                f"it must be exactly {user.client_id!r}"
            )
        return self._check_path(user, leaf, chain, now)

    def _check_path(self, user: UserName, leaf: x509.Certificate, chain: PeerChain, now: datetime) -> Grant | Denial:
        known = self._known_certificate(user, leaf, chain)
        if known is not None:
            invalid = _check_validity(leaf, now) or _check_validity(known.issuer.signed, now)
            return invalid or self._check_identifier(user, leaf, known.issuer, known.identifier)
        try:
            intermediates = chain.intermediates
        except (ValueError, x509.InvalidVersion) as error:
            return Denial(f"{user.client_id}: an intermediate certificate cannot be read: {error}")
        trusted = self._trusted()
        registered = self._certificates.anchors()
        path = validate_path(leaf, intermediates, (*(each.signed for each in trusted), *registered), now)
        if isinstance(path, PathRefusal):
            return Denial(f"{user.client_id}: {path.detail}; {self._describe_trust(len(trusted), len(registered))}")
        issuer = next((each for each in trusted if each.signed == path.anchor), None) or self._issuer_in(path)
        if issuer is not None:
            return self._check_identifier(user, leaf, issuer)
        return Grant(AuthMethod.CERTIFICATE_AUTHORITY)

    def _known_certificate(self, user: UserName, leaf: x509.Certificate, chain: PeerChain) -> KnownCertificate | None:
        """Find the note of a leaf that ADR itself issued: its signature needs no check."""
        namespace = self._link.namespace
        if namespace is None:
            return None
        return self._adr.known_certificate(namespace, user.device_id, serial_number_of(leaf), chain.sha256_thumbprint)

    def _trusted(self) -> list[IssuingCa]:
        namespace = self._link.namespace
        return self._adr.authorities.trusted(namespace) if namespace is not None else []

    def _issuer_in(self, path: ValidPath) -> IssuingCa | None:
        """Find the issuing CA of ADR in a path to a CA registered on the hub.

        Whoever registers a namespace's root, or an issuing CA, vouches for it; what ADR revoked stays revoked.
        """
        found = (self._adr.authorities.find(certificate) for certificate in path.certificates[1:])
        return next((each for each in found if each is not None), None)

    def _describe_trust(self, trusted: int, registered: int) -> str:
        namespace = self._link.namespace
        linked = f"{trusted} issuing CA(s) of namespace {namespace}" if namespace else "no namespace"
        return f"hub {self._settings.name} trusts {linked} and {registered} CA certificate(s) registered on it"

    def _check_identifier(
        self, user: UserName, leaf: x509.Certificate, issuer: IssuingCa, identifier: UUID | None = None
    ) -> Grant | Denial:
        """Compare a leaf that ADR issued with the device record: revocation changes the record, or the issuer.

        `identifier` is the leaf's, where it is known already.
        """
        namespace = issuer.namespace
        if not issuer.is_trusted:
            return Denial(
                f"certificate {serial_number_of(leaf):x} of device {user.device_id} was issued by generation "
                f"{issuer.generation} of issuing CA {issuer.name} of namespace {namespace}, which is {issuer.state}"
            )
        device = self._adr.device(namespace, user.device_id)
        if device is None:
            return Denial(f"device {user.device_id} is not registered in namespace {namespace}")
        if not device.enabled:
            return Denial(f"device {user.device_id} is disabled in namespace {namespace}")
        if (identifier or device_identifier(leaf)) != device.identifier:
            return Denial(
                f"certificate {serial_number_of(leaf):x} of device {user.device_id} was revoked: its device identifier "
                f"is not the one in namespace {namespace}"
            )
        return Grant(AuthMethod.CERTIFICATE_AUTHORITY, issuer=issuer.thumbprint)


def _leaf(chain: PeerChain) -> x509.Certificate | Denial:
    try:
        leaf = chain.leaf
        if leaf is None:
            return Denial("the client presented no certificate")
    except (ValueError, x509.InvalidVersion) as error:
        return Denial(f"the client certificate cannot be read: {error}")
    return leaf


def _check_validity(leaf: x509.Certificate, now: datetime) -> Denial | None:
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if start <= now <= end:
        return None
    name = leaf.subject.rfc4514_string()
    if now > end:
        return Denial(f"certificate {name!r} expired at {end.isoformat()}, now is {now.isoformat()}")
    return Denial(f"certificate {name!r} is not valid before {start.isoformat()}, now is {now.isoformat()}")
