"""Rotation of issuing CAs: each policy gets its next ICA while the present one can still issue full-length leaves."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from adr.audit import AuditKind
from adr.policy import Policy
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


def is_rotation_due(policy: Policy, root: x509.Certificate, now: datetime) -> bool:
    """Tell whether a policy needs its next ICA: the present one lives less than a leaf and 30 days more.

    Not when the root could not sign one that lives longer.
    """
    expires_at, root_expires_at = policy.certificate.not_valid_after_utc, root.not_valid_after_utc
    if not root.not_valid_before_utc <= now < root_expires_at:
        return False
    is_old = expires_at - now < policy.leaf_validity + ROTATION_MARGIN
    return is_old and root_expires_at - expires_at > LEAST_GAIN


def rotate_issuers(adr: AdrRegistry, now: datetime) -> list[Policy]:
    """Rotate every ICA that is due and return the policies as they are then; the caller commits.

    A former ICA stays a trust anchor until it has expired, and with it its last leaf: no device notices.

    Raises:
        IssuerKeyMissing: a root cannot sign.

    Source: that Azure rotates ICAs before they expire, and how long before, is assumed.
    """
    rotated: list[Policy] = []
    for namespace in adr.namespaces():
        root = adr.root(namespace.name)
        due = [policy for policy in adr.policies(namespace.name) if is_rotation_due(policy, root, now)]
        rotated += [_rotate(adr, policy, now) for policy in due]
    return rotated


def ageing_roots(adr: AdrRegistry, now: datetime) -> list[AgeingRoot]:
    """List the roots that are not valid, or have less than a year to live."""
    found = []
    for namespace in adr.namespaces():
        root = adr.root(namespace.name)
        if not root.not_valid_before_utc <= now < root.not_valid_after_utc - ROOT_MARGIN:
            found.append(AgeingRoot(namespace.name, root.not_valid_before_utc, root.not_valid_after_utc))
    return found


def _rotate(adr: AdrRegistry, policy: Policy, now: datetime) -> Policy:
    changed = adr.replace_issuer(policy.namespace, policy.name, now, trust_former=True)
    reason = (
        f"policy {policy.name}: issuing CA {policy.generation} expires at "
        f"{policy.certificate.not_valid_after_utc:%Y-%m-%d}, {changed.generation} issues from now on"
    )
    logger.info("namespace %s: %s", policy.namespace, reason)
    serial_number = f"{changed.certificate.serial_number:x}"
    adr.audit.record(AuditKind.ROTATED, now, service=policy.namespace, serial_number=serial_number, reason=reason)
    return changed
