"""Rotation of issuing CAs: each policy gets its next ICA while the present one can still issue full-length leaves."""

import contextlib
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from adr.audit import AuditKind
from adr.authority import AuthorityState, IssuingCa
from adr.errors import CredentialNotFound
from adr.policy import DEFAULT_LEAF_VALIDITY
from adr.registry import AdrRegistry

logger = logging.getLogger("adr")

# How much longer than a leaf an ICA must live, so that a rotation that is late shortens no leaf. Source: assumed.
ROTATION_MARGIN = timedelta(days=30)
# A root is reported when it has no longer to live than this. Source: assumed.
ROOT_MARGIN = timedelta(days=365)
# Too little to be worth a rotation: the root itself is near its end.
LEAST_GAIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AgeingRoot:
    """A namespace whose root CA is near its end, past it, or not valid yet; nothing renews a root by itself."""

    namespace: str
    starts_at: datetime
    expires_at: datetime

    def describe(self, now: datetime) -> str:
        """Say it in a sentence."""
        if now < self.starts_at:
            return (
                f"the root CA of namespace {self.namespace} is not valid before {self.starts_at:%Y-%m-%d}: "
                "no certificate can be issued until then"
            )
        if now > self.expires_at:
            return f"the root CA of namespace {self.namespace} expired at {self.expires_at:%Y-%m-%d}"
        return (
            f"the root CA of namespace {self.namespace} expires at {self.expires_at:%Y-%m-%d}, in "
            f"{(self.expires_at - now).days} days: no certificate can be issued beyond that"
        )


def is_rotation_due(authority: IssuingCa, leaf_validity: timedelta, root: x509.Certificate, now: datetime) -> bool:
    """Tell whether an issuing CA needs a next generation: this one lives less than its leaves and 30 days more.

    Not when the root could not sign one that lives longer; an external CA is not signed by the root. One that is not
    valid yet, as the clock was set back after it was made, cannot issue and needs a next one too.
    """
    expires_at, root_expires_at = authority.signed.not_valid_after_utc, root.not_valid_after_utc
    is_old = expires_at - now < leaf_validity + ROTATION_MARGIN
    if authority.is_external:
        return is_old
    if not root.not_valid_before_utc <= now < root_expires_at:
        return False
    return now < authority.signed.not_valid_before_utc or (is_old and root_expires_at - expires_at > LEAST_GAIN)


def rotate_issuers(adr: AdrRegistry, now: datetime) -> list[IssuingCa]:
    """Rotate every issuing CA that is due and return the new generations; the caller commits.

    A former ICA stays a trust anchor until it has expired, and with it its last leaf: no device notices. For an
    external one a CSR is made, once, that its owner has to have signed.

    Raises:
        IssuerKeyMissing: a root cannot sign.

    Source: that Azure rotates ICAs before they expire, and how long before, is assumed.
    """
    rotated: list[IssuingCa] = []
    for namespace in adr.namespaces():
        with contextlib.suppress(CredentialNotFound):
            root = adr.root(namespace.name)
            due = [
                each for each in _active(adr, namespace.name) if is_rotation_due(each, _longest(adr, each), root, now)
            ]
            rotated += [_rotate(adr, each, now) for each in due]
    return rotated


def ageing_roots(adr: AdrRegistry, now: datetime) -> list[AgeingRoot]:
    """List the roots with less than a year to live, and those that are not valid yet."""
    names = [namespace.name for namespace in adr.namespaces()]
    roots = [root for name in names for root in adr.authorities.roots(name) if not root.is_deleted]
    ageing = [
        AgeingRoot(root.namespace, root.certificate.not_valid_before_utc, root.certificate.not_valid_after_utc)
        for root in roots
    ]
    return [each for each in ageing if each.expires_at - now < ROOT_MARGIN or now < each.starts_at]


def _active(adr: AdrRegistry, namespace: str) -> list[IssuingCa]:
    """List the issuing CAs that sign, but external ones whose owner was asked already."""
    present = [each for each in adr.authorities.all_current(namespace) if each.state is AuthorityState.ACTIVE]
    return [each for each in present if not each.is_external or adr.authorities.pending(namespace, each.name) is None]


def _longest(adr: AdrRegistry, authority: IssuingCa) -> timedelta:
    """Return how long the longest-lived leaves of an issuing CA live."""
    policies = adr.policies_of(authority.namespace, authority.name)
    return max((policy.leaf_validity for policy in policies), default=DEFAULT_LEAF_VALIDITY)


def _rotate(adr: AdrRegistry, authority: IssuingCa, now: datetime) -> IssuingCa:
    make = adr.authorities.request_renewal if authority.is_external else adr.authorities.rotate
    changed = make(authority, now)
    follows = "waits to be signed by its owner's CA" if authority.is_external else "issues from now on"
    starts_at, expires_at = authority.signed.not_valid_before_utc, authority.signed.not_valid_after_utc
    why = f"is not valid before {starts_at:%Y-%m-%d}" if now < starts_at else f"expires at {expires_at:%Y-%m-%d}"
    reason = f"issuing CA {authority.name} generation {authority.generation} {why}, {changed.generation} {follows}"
    logger.info("namespace %s: %s", authority.namespace, reason)
    serial_number = "" if changed.certificate is None else f"{changed.certificate.serial_number:x}"
    adr.audit.record(AuditKind.ROTATED, now, service=authority.namespace, serial_number=serial_number, reason=reason)
    return changed
