"""Devices and their certificates, in files from which the load generator reads them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from certs.authority import CertificateAuthority
from certs.keys import KeyType, PrivateKey, generate_key
from certs.pem import format_pem, format_private_key, parse_pem_certificates, parse_private_key


@dataclass(frozen=True, slots=True)
class Device:
    """A device ID, and what it connects with: a P-256 leaf, the P-384 CA that issued it, and that one's root."""

    device_id: str
    key: PrivateKey
    leaf: x509.Certificate
    issuing_ca: x509.Certificate
    root: x509.Certificate


def write_fleet(path: Path, devices: Iterable[Device]) -> None:
    """Write a fleet; its CAs are kept once."""
    fleet = list(devices)
    path.write_text(
        json.dumps(
            {
                "authorities": format_pem(fleet[0].issuing_ca, fleet[0].root).decode(),
                "devices": [
                    [each.device_id, format_private_key(each.key).decode(), format_pem(each.leaf).decode()]
                    for each in fleet
                ],
            }
        )
    )


def read_fleet(path: Path) -> list[Device]:
    """Read what `write_fleet` wrote."""
    content = json.loads(path.read_text())
    issuing_ca, root = parse_pem_certificates(content["authorities"])
    return [
        Device(device_id, parse_private_key(key), parse_pem_certificates(leaf)[0], issuing_ca, root)
        for device_id, key, leaf in content["devices"]
    ]


def make_onboarding_fleet(count: int) -> list[Device]:
    """Issue onboarding certificates as a factory would: P-256 leaves under a P-384 intermediate and root."""
    now = datetime.now(UTC)
    root = CertificateAuthority.create_root("bench onboarding root", now)
    issuing_ca = root.issue_intermediate("bench onboarding CA", now)

    def device(number: int) -> Device:
        key = generate_key(KeyType.P256)
        name = f"bench-{number:06d}"
        leaf = issuing_ca.issue_onboarding(name, key.public_key(), now, validity=timedelta(days=2))
        return Device(name, key, leaf, issuing_ca.certificate, root.certificate)

    return [device(number) for number in range(count)]
