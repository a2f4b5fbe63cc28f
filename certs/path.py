"""Certification path validation: from a presented leaf to a trust anchor, or the exact reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cryptography import x509


@dataclass(frozen=True, slots=True)
class ValidPath:
    """A verified chain: leaf first, the trust anchor last."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def anchor(self) -> x509.Certificate:
        """The trust anchor that the chain ends at."""
        return self.certificates[-1]


class PathError(Enum):
    """Why a chain is not valid."""

    UNKNOWN_ISSUER = "unknown issuer"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    BAD_SIGNATURE = "bad signature"
    NOT_A_CA = "not a CA"
    UNSUITABLE = "unsuitable"


@dataclass(frozen=True, slots=True)
class PathRefusal:
    """A chain that is not valid; `detail` names the certificate (subject, serial) and the rule, for people."""

    error: PathError
    detail: str


def validate_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> ValidPath | PathRefusal:
    """Verify the chain from a leaf to one of the trust anchors at a time, as RFC 5280 §6 says; never raises."""
    raise NotImplementedError


def walk_issuers(leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Follow issuer names from a leaf through the presented certificates, leaf first; nothing is verified."""
    raise NotImplementedError


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the certificate names this issuer and is signed with its key; no other rule is checked."""
    raise NotImplementedError
