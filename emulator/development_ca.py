"""The development CA: stands in for the CA of somebody's factory, so that anyone can onboard a device at once."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from certs.authority import CertificateAuthority
from certs.keyfile import FileKeyStore, write_atomic
from certs.keys import KeyType
from certs.path import issued_by
from certs.pem import format_pem, parse_pem_certificates
from certs.profiles import ONBOARDING_INTERMEDIATE, ONBOARDING_ROOT
from emulator.kept_certificates import KeptCertificates, is_fresh
from emulator.state import StateDirectory

logger = logging.getLogger("emulator")

ROOT_NAME = "dev-ca-root"
INTERMEDIATE_NAME = "dev-ca-intermediate"
FILE_NAME = "dev-ca.pem"
INTERMEDIATE_VALIDITY = timedelta(days=1826)


@dataclass(frozen=True, slots=True)
class DevelopmentCa:
    """An onboarding CA, P-256: the intermediate issues, the root is what else a factory would have."""

    root: x509.Certificate
    intermediate: CertificateAuthority


def ensure_development_ca(kept: KeptCertificates, now: datetime) -> DevelopmentCa:
    """Find the development CA, and make what is missing or near expiry.

    A root that is made anew keeps its key: devices whose chains end at the former certificate stay good.
    """
    root = kept.authority(ROOT_NAME)
    if root is None or not is_fresh(root.certificate, now):
        root = CertificateAuthority.create_root(
            "hublet development root", now, profile=ONBOARDING_ROOT, key=kept.key(ROOT_NAME, KeyType.P256)
        )
        kept.keep(ROOT_NAME, root)
        logger.info("development CA: root created")
    intermediate = kept.authority(INTERMEDIATE_NAME)
    if intermediate is None or not _is_usable(intermediate.certificate, root.certificate, now):
        intermediate = root.issue_intermediate(
            "hublet development CA",
            now,
            key_type=KeyType.P256,
            validity=INTERMEDIATE_VALIDITY,
            profile=ONBOARDING_INTERMEDIATE,
        )
        kept.keep(INTERMEDIATE_NAME, intermediate)
        logger.info("development CA: intermediate created")
    return DevelopmentCa(root.certificate, intermediate)


def find_development_ca(kept: KeptCertificates) -> DevelopmentCa | None:
    """Return the development CA as it is, None when a certificate or the intermediate's key is missing."""
    root, intermediate = kept.certificate(ROOT_NAME), kept.authority(INTERMEDIATE_NAME)
    return None if root is None or intermediate is None else DevelopmentCa(root, intermediate)


def export_development_ca(ca: DevelopmentCa, state_dir: Path) -> None:
    """Write the certificates, intermediate first, to where `open_dev_ca` finds them while a process runs."""
    pem = format_pem(ca.intermediate.certificate, ca.root)
    path = StateDirectory(state_dir).path / FILE_NAME
    if not path.exists() or path.read_bytes() != pem:
        write_atomic(path, pem)


def open_dev_ca(state_dir: Path) -> CertificateAuthority | None:
    """Return the development CA's intermediate, None when no emulator ever ran on this directory.

    Reads files only, so that it works beside the process that has the state.

    Raises:
        ValueError: the certificate or its key cannot be parsed.
        OSError: a file cannot be read.
    """
    state = StateDirectory(state_dir)
    path = state.path / FILE_NAME
    key = FileKeyStore(state.keys).load(INTERMEDIATE_NAME)
    if key is None or not path.exists():
        return None
    return CertificateAuthority(parse_pem_certificates(path.read_bytes())[0], key)


def _is_usable(intermediate: x509.Certificate, root: x509.Certificate, now: datetime) -> bool:
    return is_fresh(intermediate, now) and issued_by(intermediate, root)
