from datetime import UTC, datetime
from pathlib import Path

import pytest

from adr.registry import AdrRegistry
from certs.authority import CertificateAuthority
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType
from certs.profiles import ONBOARDING_INTERMEDIATE, ONBOARDING_ROOT
from emulator.config_values import CertificateFile
from emulator.declared_hub_certificates import declare_hub_certificates
from emulator.development_ca import INTERMEDIATE_VALIDITY, DevelopmentCa
from emulator.store import SqliteStore
from hub.hub import Hub, HubSettings

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture
def dev_ca() -> DevelopmentCa:
    root = CertificateAuthority.create_root("root", NOW, key_type=KeyType.P256, profile=ONBOARDING_ROOT)
    intermediate = root.issue_intermediate(
        "intermediate", NOW, key_type=KeyType.P256, validity=INTERMEDIATE_VALIDITY, profile=ONBOARDING_INTERMEDIATE
    )
    return DevelopmentCa(root.certificate, intermediate)


@pytest.fixture
def hub() -> Hub:
    store = SqliteStore(":memory:")
    return Hub(HubSettings("hub1", "localhost"), store, AdrRegistry(store, MemoryKeyStore()))


def test_nothing_declared_trusts_no_onboarding_ca(hub: Hub, dev_ca: DevelopmentCa) -> None:
    declare_hub_certificates(hub, (), dev_ca)
    assert hub.certificates.anchors() == ()


def test_declared_ca_becomes_a_trust_anchor_once(hub: Hub, dev_ca: DevelopmentCa) -> None:
    for _ in range(2):
        declare_hub_certificates(hub, ("dev-ca",), dev_ca)
    assert hub.certificates.anchors() == (dev_ca.intermediate.certificate,)


def test_ca_that_is_declared_no_longer_is_forgotten_and_others_stay(hub: Hub, dev_ca: DevelopmentCa) -> None:
    hub.certificates.add("by-hand", dev_ca.root)
    declare_hub_certificates(hub, ("dev-ca",), dev_ca)
    declare_hub_certificates(hub, (), dev_ca)
    assert hub.certificates.names() == ["by-hand"]


def test_file_with_another_certificate_replaces_the_former(hub: Hub, dev_ca: DevelopmentCa) -> None:
    path = Path("factory.pem")
    declare_hub_certificates(hub, (CertificateFile(path, (dev_ca.root,)),), dev_ca)
    declare_hub_certificates(hub, (CertificateFile(path, (dev_ca.intermediate.certificate,)),), dev_ca)
    assert hub.certificates.anchors() == (dev_ca.intermediate.certificate,)
