"""The certificates the front door shows: a CA of its own, and one leaf for each key type that TLS picks from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Self

from cryptography import x509

from certs.authority import ROOT_VALIDITY, CertificateAuthority
from certs.extensions import extension_of
from certs.keys import KeyType, PrivateKey
from certs.path import issued_by
from certs.profiles import SERVER_CA, host_alternative_names
from emulator.kept_certificates import KeptCertificates, is_fresh

logger = logging.getLogger("emulator")

CA_NAME = "server-ca"
CA_COMMON_NAME = "hublet server CA"
LEAVES = MappingProxyType({"server-ecdsa": KeyType.P256, "server-rsa": KeyType.RSA2048})
# What browsers and Apple's TLS accept at most is 398 days.
LEAF_VALIDITY = timedelta(days=365)
ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ServerCertificates:
    """The server CA's certificate (no ADR root), and the leaves it signed with their keys: ECDSA, then RSA."""

    ca: x509.Certificate
    leaves: tuple[tuple[x509.Certificate, PrivateKey], ...]

    def are_fresh(self, *moments: datetime) -> bool:
        """Tell whether all are valid at these moments, and for a month after each."""
        return all(is_fresh(each, *moments) for each in (self.ca, *(leaf for leaf, _ in self.leaves)))


@dataclass(frozen=True, slots=True)
class Span:
    """The machine's time and the emulator's: clients judge by either, so a server certificate is valid at both."""

    earliest: datetime
    latest: datetime

    @classmethod
    def of(cls, *moments: datetime) -> Self:
        """Take the span that these moments lie in."""
        return cls(min(moments), max(moments))

    def validity(self, validity: timedelta) -> timedelta:
        """How long a certificate lives that counts from the earliest moment, and for `validity` after the latest."""
        return self.latest - self.earliest + validity

    def has_fresh(self, certificate: x509.Certificate) -> bool:
        """Tell whether a certificate is valid in all of the span and for a month after it."""
        return is_fresh(certificate, self.earliest, self.latest)


def ensure_server_certificates(
    kept: KeptCertificates, host_names: Sequence[str], now: datetime, machine_now: datetime | None = None
) -> ServerCertificates:
    """Find the server's certificates, and make those that are missing, near expiry or without one of the names.

    Each keeps its key when it is made anew: clients that trust a former certificate of the CA trust what it signs now.

    Args:
        kept: where they are.
        host_names: host names and IP addresses that devices dial, beside `localhost` and the loopback addresses.
        now: the present.
        machine_now: the machine's time, by which most clients judge; None for the same.
    """
    names = tuple(dict.fromkeys((ALWAYS_NAMED[0], *host_names, *ALWAYS_NAMED[1:])))
    span = Span.of(now, machine_now or now)
    present = find_server_certificates(kept)
    if present is not None and all(_serves(leaf, present.ca, names, span) for leaf, _ in present.leaves):
        return present
    ca = _ensure_ca(kept, span)
    return ServerCertificates(ca.certificate, tuple(_ensure_leaf(kept, leaf, ca, names, span) for leaf in LEAVES))


def find_server_certificates(kept: KeptCertificates) -> ServerCertificates | None:
    """Return the server's certificates as they are, None when one of them or its key is missing."""
    ca, leaves = kept.certificate(CA_NAME), [kept.authority(name) for name in LEAVES]
    if ca is None or None in leaves:
        return None
    return ServerCertificates(ca, tuple((leaf.certificate, leaf.key) for leaf in leaves if leaf is not None))


def _ensure_ca(kept: KeptCertificates, span: Span) -> CertificateAuthority:
    present = kept.authority(CA_NAME)
    if present is not None and span.has_fresh(present.certificate):
        return present
    logger.info("server CA: created; clients have to trust it" if present is None else "server CA: certified anew")
    ca = CertificateAuthority.create_root(
        CA_COMMON_NAME,
        span.earliest,
        validity=span.validity(ROOT_VALIDITY),
        profile=SERVER_CA,
        key=kept.key(CA_NAME, KeyType.RSA2048),
    )
    return kept.keep(CA_NAME, ca)


def _ensure_leaf(
    kept: KeptCertificates, name: str, ca: CertificateAuthority, host_names: Sequence[str], span: Span
) -> tuple[x509.Certificate, PrivateKey]:
    present = kept.authority(name)
    if present is not None and _serves(present.certificate, ca.certificate, host_names, span):
        return present.certificate, present.key
    key = kept.key(name, LEAVES[name])
    validity = span.validity(LEAF_VALIDITY)
    leaf = ca.issue_server(host_names, key.public_key(), span.earliest, validity=validity)
    kept.keep_certificate(name, leaf)
    logger.info("server certificate %s: issued for %s", name, ", ".join(host_names))
    return leaf, key


def _serves(leaf: x509.Certificate, ca: x509.Certificate, host_names: Sequence[str], span: Span) -> bool:
    wanted = x509.SubjectAlternativeName(host_alternative_names(host_names))
    named = extension_of(leaf, x509.SubjectAlternativeName) == wanted
    return named and span.has_fresh(leaf) and span.has_fresh(ca) and issued_by(leaf, ca)
