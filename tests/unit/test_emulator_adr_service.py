"""What the management of the registry does to live connections, identities and links."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from broker.gateway import Close, ConnectRequest, Refusal
from certs.csr import CertificateRequest
from certs.keys import KeyType, generate_key
from certs.peer import PeerChain
from hub.identity import Authentication, AuthenticationType, DeviceStatus
from hub.session import HubSession
from tests.doubles.management import NOW, ManagementHouse

KEY = generate_key(KeyType.P256).public_key()


@pytest.fixture
def works() -> ManagementHouse:
    return ManagementHouse()


def chain_for(works: ManagementHouse, device_id: str, policy: str = "plant-1") -> PeerChain:
    works.adr.register_device("works", device_id, policy, NOW)
    leaf = works.adr.issue("works", device_id, CertificateRequest(device_id, KEY, b""), NOW).leaf
    return PeerChain((leaf.public_bytes(Encoding.DER),))


def try_connect(works: ManagementHouse, device_id: str, chain: PeerChain, hub: int = 0) -> HubSession | Refusal:
    target = works.hubs[hub]
    target.registry.provision(device_id, Authentication(AuthenticationType.CERTIFICATE_AUTHORITY), NOW)
    name = f"{target.settings.host_name}/{device_id}/?api-version=2021-04-12"
    session = target.gateway.connect(ConnectRequest(device_id, name, None, True, 60, None, chain, "x:1"), NOW)
    if isinstance(session, HubSession):
        target.gateway.opened(session, NOW)
    return session


def connect(works: ManagementHouse, device_id: str, hub: int = 0, policy: str = "plant-1") -> HubSession:
    """Onboard and connect a device as DPS and broker do."""
    session = try_connect(works, device_id, chain_for(works, device_id, policy), hub)
    assert isinstance(session, HubSession), session
    return session


def closed(works: ManagementHouse) -> list[str]:
    actions = works.service.condemned()
    assert all(isinstance(action, Close) for action in actions)
    return [action.session_key for action in actions]


class TestDevice:
    def test_revoked_device_is_put_out_of_its_hub(self, works: ManagementHouse) -> None:
        connect(works, "pump")
        connect(works, "valve")
        device = works.service.revoke_device("works", "pump", NOW)
        assert closed(works) == ["hub1/pump"]
        assert device.enabled
        identity = works.hubs[0].registry.get("pump")
        assert identity is not None
        assert identity.enabled

    def test_device_of_the_same_name_in_another_namespace_stays(self, works: ManagementHouse) -> None:
        works.adr.create_namespace("lab", NOW)
        works.adr.create_policy("lab", "default", NOW)
        works.service.link_hub(works.hubs[1], "lab")
        works.adr.register_device("lab", "pump", "default", NOW)
        leaf = works.adr.issue("lab", "pump", CertificateRequest("pump", KEY, b""), NOW).leaf
        chain = PeerChain((leaf.public_bytes(Encoding.DER),))
        assert isinstance(try_connect(works, "pump", chain, hub=1), HubSession)
        connect(works, "pump")
        works.service.revoke_device("works", "pump", NOW, disable=True)
        assert closed(works) == ["hub1/pump", "hub1/pump"]  # by its certificate, and as disabled
        identity = works.hubs[1].registry.get("pump")
        assert identity is not None
        assert identity.enabled

    def test_disabled_device_is_disabled_in_its_hub_until_it_is_enabled(self, works: ManagementHouse) -> None:
        connect(works, "pump")
        works.service.revoke_device("works", "pump", NOW, disable=True)
        registry = works.hubs[0].registry
        assert [registry.get("pump").status, registry.get("pump").status_reason] == [  # type: ignore[union-attr]
            DeviceStatus.DISABLED,
            "disabled in the device registry",
        ]
        device = works.adr.devices.require("works", "pump")
        assert not device.enabled
        works.service.set_enabled("works", replace(device, enabled=True), NOW)
        assert registry.get("pump").status is DeviceStatus.ENABLED  # type: ignore[union-attr]
        assert registry.get("pump").status_reason == ""  # type: ignore[union-attr]

    def test_deleted_device_is_put_out(self, works: ManagementHouse) -> None:
        connect(works, "pump")
        works.service.delete_device("works", "pump", NOW)
        assert closed(works) == ["hub1/pump"]
        assert works.hubs[0].registry.get("pump") is not None


class TestIssuingCa:
    def test_revoked_issuing_ca_takes_its_devices_along_on_every_hub(self, works: ManagementHouse) -> None:
        """Also on a hub that is not linked, but has the root among its CAs."""
        works.adr.create_policy("works", "plant-2", NOW)
        works.hubs[1].certificates.add("root", works.adr.root("works"))
        for device_id, hub, policy in (("pump", 0, "plant-1"), ("valve", 0, "plant-2")):
            connect(works, device_id, hub, policy)
        chain = chain_for(works, "fan")
        ica = works.adr.issuing_ca("works", "plant-1").signed.public_bytes(Encoding.DER)
        assert isinstance(try_connect(works, "fan", PeerChain((*chain.der, ica)), hub=1), HubSession)
        works.service.revoke_issuing_ca("works", "plant-1", NOW)
        assert closed(works) == ["hub1/pump", "hub2/fan"]


class TestLinks:
    def test_hub_that_leaves_its_namespace_trusts_it_no_more(self, works: ManagementHouse) -> None:
        chain = chain_for(works, "pump")
        assert isinstance(try_connect(works, "pump", chain), HubSession)
        works.service.link_hub(works.hubs[0], None)
        assert closed(works) == ["hub1/pump"]
        assert isinstance(try_connect(works, "pump", chain), Refusal)
        works.service.link_hub(works.hubs[0], "works")
        works.service.link_hub(works.hubs[0], "works")
        assert isinstance(try_connect(works, "pump", chain), HubSession)
        assert closed(works) == []

    def test_links_are_listed_by_namespace(self, works: ManagementHouse) -> None:
        assert [hub.settings.name for hub in works.service.linked_hubs("works")] == ["hub1"]
        assert works.service.linked_services("works") == [works.dps]
        works.service.link_service(works.dps, None)
        works.service.link_service(works.dps, None)
        assert works.service.linked_services("works") == []
        assert works.service.hub("HUB2") is works.hubs[1]
        assert works.service.provisioning_service("DPS1") is works.dps
