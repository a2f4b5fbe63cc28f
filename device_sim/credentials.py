"""The onboarding credentials of a whole fleet, made before its clock starts."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from device_sim.credential import ClientCertificate, SymmetricKey
from device_sim.errors import CertificateMismatch
from device_sim.key_pool import SECONDS_PER_KEY, format_key, parse_key
from device_sim.processes import chunks, work_through

SECONDS_PER_CERTIFICATE = 100e-6


class CredentialsError(Exception):
    """The credentials of a fleet cannot be made; the message names the file and the rule."""


@dataclass(frozen=True, slots=True)
class OnboardingCa:
    """A CA that onboarding certificates come from; `above` are the certificates between it and what DPS trusts."""

    authority: CertificateAuthority
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What follows the leaf."""
        return (self.authority.certificate, *self.above)


@dataclass(frozen=True, slots=True)
class _Order:
    """Certificates that one process is to make; what crosses over is DER and PEM."""

    ca_certificate: bytes
    ca_key: bytes = field(repr=False)
    names: Sequence[str]
    key_type: KeyType
    now: datetime
    validity: timedelta


def issue_certificates(
    ca: OnboardingCa,
    names: Sequence[str],
    key_type: KeyType,
    validity: timedelta,
    now: datetime,
    *,
    progress: Callable[[int], None] = lambda _made: None,
) -> list[ClientCertificate]:
    """Make a key and a certificate for each name; `progress` hears how many there are so far.

    Raises:
        CredentialsError: the CA is not valid now.
    """
    issuer = ca.authority.certificate
    if not issuer.not_valid_before_utc <= now < issuer.not_valid_after_utc:
        raise CredentialsError(
            f"the CA {issuer.subject.rfc4514_string()} is not valid now, but from "
            f"{issuer.not_valid_before_utc:%Y-%m-%d %H:%M} to {issuer.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    seconds_each = SECONDS_PER_KEY[key_type] + SECONDS_PER_CERTIFICATE
    certificate, key = issuer.public_bytes(Encoding.DER), format_key(ca.authority.key)
    orders = [
        _Order(certificate, key, names[part.start : part.stop], key_type, now, validity)
        for part in chunks(len(names), seconds_each)
    ]
    made: list[ClientCertificate] = []
    for pairs in work_through(_issue, orders, len(names) * seconds_each):
        made += (
            ClientCertificate((x509.load_der_x509_certificate(leaf), *ca.chain), parse_key(own)).prepare()
            for own, leaf in pairs
        )
        progress(len(made))
    return made


def read_onboarding_ca(certificate_file: Path, key_file: Path) -> OnboardingCa:
    """Read a CA: its certificate, then perhaps those above it, and its key, in PEM.

    Raises:
        OSError: a file cannot be read.
        CredentialsError: a file does not hold what it should, or they do not belong together.
    """
    try:
        pair = ClientCertificate.read(certificate_file, key_file)
    except (ValueError, CertificateMismatch) as error:
        raise CredentialsError(f"{certificate_file} with {key_file}: {error}") from None
    return OnboardingCa(CertificateAuthority(pair.leaf, pair.key), pair.chain[1:])


def derive_keys(group_key: str, names: Sequence[str]) -> list[SymmetricKey]:
    """Derive the key of each device from their enrollment group's.

    Raises:
        CredentialsError: the group key is not base64.
    """
    try:
        return [SymmetricKey.of_group(group_key, name) for name in names]
    except ValueError:
        raise CredentialsError("the group key is not base64 (it is not shown)") from None


def read_individual_keys(path: Path, count: int) -> list[SymmetricKey]:
    """Read the first lines `registration-id,base64-key` of a file; empty lines and those that begin with # are none.

    Raises:
        OSError: it cannot be read.
        CredentialsError: a line has another form, an ID is there twice, or there are too few.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CredentialsError(f"{path} is not UTF-8 at byte {error.start}") from None
    keys: dict[str, SymmetricKey] = {}
    for number, line in enumerate(lines, start=1):
        if len(keys) == count:
            break
        if line.strip() and not line.startswith("#"):
            key = _parse_individual_key(line, f"{path}, line {number}")
            # Registration IDs are case-insensitive. Source: concepts-service.md (documented).
            if keys.setdefault(key.registration_id.lower(), key) is not key:
                raise CredentialsError(f"{path}, line {number}: {key.registration_id} is there already")
    if len(keys) < count:
        raise CredentialsError(f"{path} holds {len(keys)} keys, the scenario has {count} devices")
    return list(keys.values())


def _parse_individual_key(line: str, place: str) -> SymmetricKey:
    name, comma, key = (part.strip() for part in line.partition(","))
    try:
        is_base64 = bool(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        is_base64 = False
    if not name or not comma or not is_base64:
        raise CredentialsError(f"{place}: must be registration-id,base64-key (the line is not shown)")
    return SymmetricKey(name, key)


def _issue(order: _Order) -> list[tuple[bytes, bytes]]:
    authority = CertificateAuthority(x509.load_der_x509_certificate(order.ca_certificate), parse_key(order.ca_key))
    pairs = []
    for name in order.names:
        key = generate_key(order.key_type)
        leaf = authority.issue_onboarding(name, key.public_key(), order.now, validity=order.validity)
        pairs.append((format_key(key), leaf.public_bytes(Encoding.DER)))
    return pairs
