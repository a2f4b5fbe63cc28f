"""Who is connected, and who is put out."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.gateway import Close
from hub.connections import Presence
from hub.identity import DeviceStatus
from hub.sas import format_sas_token
from hub.topics import CREDENTIALS_FILTER

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def module_token(house: Any) -> bytes:
    policy = house.hub.policies.get("device")
    return format_sas_token("hub1.example", policy.primary_key, 1900000000, "device").encode()


def connect_module(house: Any) -> Any:
    return house.connect("dev1/mod1", password=module_token(house))


@pytest.fixture
def chain(house: Any) -> Any:
    chain = house.onboard("dev1")
    house.hub.registry.create_module("dev1", "mod1", None, NOW)
    return chain


def test_presence_follows_the_connection(house: Any, chain: Any) -> None:
    connections = house.hub.connections
    assert (connections.presence("hub1/dev1"), connections.count()) == (None, 0)
    device = house.connect("dev1", peer_chain=chain)
    assert (connections.presence("hub1/dev1"), connections.count()) == (Presence(True, NOW), 1)
    device.now = LATER
    device.disconnect()
    assert (connections.presence("hub1/dev1"), connections.count()) == (Presence(False, LATER), 0)


def test_end_of_an_old_connection_does_not_end_its_successor(house: Any, chain: Any) -> None:
    old = house.connect("dev1", peer_chain=chain)
    new = house.connect("dev1", peer_chain=chain)
    old.disconnect()
    assert house.hub.connections.get("hub1/dev1") is new.session


def test_disabled_device_and_its_modules_are_put_out_once(house: Any, chain: Any) -> None:
    house.connect("dev1", peer_chain=chain)
    connect_module(house)
    other = house.connect("dev2", peer_chain=house.onboard("dev2"))
    device = house.hub.registry.get("dev1")
    house.hub.registry.update(replace(device, status=DeviceStatus.DISABLED), NOW)
    reason = "device dev1 was disabled"
    assert house.hub.gateway.tick(NOW) == [Close("hub1/dev1", reason), Close("hub1/dev1/mod1", reason)]
    assert house.hub.gateway.tick(NOW) == []
    assert house.hub.connections.get(other.session.key) is other.session


def test_update_that_leaves_a_device_as_it_is_puts_nobody_out(house: Any, chain: Any) -> None:
    house.connect("dev1", peer_chain=chain)
    house.hub.registry.update(replace(house.hub.registry.get("dev1"), status_reason="x"), NOW)
    assert house.hub.gateway.tick(NOW) == []


def test_deleted_device_is_put_out_and_forgotten(house: Any, chain: Any) -> None:
    device = house.connect("dev1", peer_chain=chain)
    module = connect_module(house)
    house.hub.registry.delete("dev1")
    for each, action in zip((device, module), house.hub.gateway.tick(NOW), strict=True):
        each.perform([action])
        assert each.closed == "device dev1 was deleted"
    assert house.hub.connections.presence("hub1/dev1") is None


def test_deleted_module_is_put_out_alone(house: Any, chain: Any) -> None:
    house.connect("dev1", peer_chain=chain)
    connect_module(house)
    house.hub.registry.delete_module("dev1", "mod1")
    assert house.hub.gateway.tick(NOW) == [Close("hub1/dev1/mod1", "module dev1/mod1 was deleted")]


def test_connection_made_after_the_deletion_stays(house: Any, chain: Any) -> None:
    house.connect("dev1", peer_chain=chain)
    house.hub.registry.delete("dev1")
    house.connect("dev1", peer_chain=house.onboard("dev1"))
    assert house.hub.gateway.tick(NOW) == []


def test_device_that_is_away_needs_no_closing(house: Any, chain: Any) -> None:
    house.hub.registry.delete("dev1")
    assert house.hub.gateway.tick(NOW) == []


def issuers(house: Any) -> set[str]:
    return {each.thumbprint for each in house.adr.authorities.generations("factory")}


def test_revoked_device_and_its_modules_are_put_out_where_a_certificate_let_them_in(house: Any, chain: Any) -> None:
    house.connect("dev1", peer_chain=chain)
    connect_module(house)  # by its key
    house.connect("dev2", peer_chain=house.onboard("dev2"))
    house.hub.connections.condemn_certified("hub1/dev1", "dev1", issuers(house), "revoked")
    assert house.hub.connections.condemned() == [Close("hub1/dev1", "revoked")]
    assert house.hub.connections.condemned() == []


def test_devices_of_a_revoked_issuing_ca_are_put_out_and_no_others(house: Any, chain: Any) -> None:
    house.adr.create_policy("factory", "other", NOW)
    house.connect("dev1", peer_chain=chain)
    house.connect("dev2", peer_chain=house.onboard("dev2", "other"))
    connect_module(house)
    other = house.adr.issuing_ca("factory", "other").thumbprint
    house.hub.connections.condemn_issued_by({other}, "revoked")
    assert house.hub.gateway.tick(NOW) == [Close("hub1/dev2", "revoked")]


@pytest.mark.parametrize("how", ["device", "issuing CA", "deleted"])
def test_device_that_is_let_in_while_it_is_revoked_is_put_out_as_soon_as_it_is_open(
    house: Any, chain: Any, how: str
) -> None:
    """Between the decision and CONNACK others may have their turn."""
    connections = house.hub.connections
    session = house.hub.gateway.connect(house.request("dev1", peer_chain=chain), NOW)
    if how == "device":
        connections.condemn_certified(session.key, "dev1", issuers(house), "revoked")
    elif how == "issuing CA":
        connections.condemn_issued_by(issuers(house), "revoked")
    else:
        connections.condemn("hub1/dev1", "dev1", "revoked")
    assert connections.condemned() == []
    house.hub.gateway.opened(session, NOW)
    assert connections.condemned() == [Close("hub1/dev1", "revoked")]


def test_module_that_is_let_in_while_its_device_is_disabled_is_put_out(house: Any, chain: Any) -> None:
    connect_module(house).disconnect()
    session = house.hub.gateway.connect(house.request("dev1/mod1", password=module_token(house)), NOW)
    house.hub.connections.condemn("hub1/dev1", "dev1", "disabled")
    house.hub.gateway.opened(session, NOW)
    assert house.hub.connections.condemned() == [Close("hub1/dev1/mod1", "disabled")]


def test_request_of_a_revoked_device_is_forgotten(make_house: Any, make_csr: Any) -> None:
    """What was asked for before a revocation is not issued after it."""
    house = make_house(issuing_delay=timedelta(seconds=10))
    device = house.connect("dev1", peer_chain=house.onboard("dev1"))
    device.subscribe(CREDENTIALS_FILTER)
    body = json.dumps({"id": "dev1", "csr": base64.b64encode(make_csr("dev1")).decode()}).encode()
    device.publish("$iothub/credentials/POST/issueCertificate/?$rid=abcd", body)
    house.hub.credentials.cancel("dev1")
    house.hub.credentials.cancel("dev1")
    issued = len(house.adr.issued("factory", "dev1"))
    house.hub.gateway.tick(NOW + timedelta(minutes=1))
    assert len(house.adr.issued("factory", "dev1")) == issued
