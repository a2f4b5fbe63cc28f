from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.identity import Authentication, AuthenticationType, DeviceStatus
from hub.sas import format_sas_token

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EXPIRES = 1795444600


def password(house: Any, client_id: str) -> bytes:
    device_id, _, module_id = client_id.partition("/")
    registry = house.hub.registry
    identity = registry.get_module(device_id, module_id) if module_id else registry.get(device_id)
    return format_sas_token("hub1.example", identity.authentication.primary_key, EXPIRES).encode()


def test_sas_device_connects_until_its_token_expires(house: Any) -> None:
    house.register("dev1")
    device = house.connect("dev1", password=password(house, "dev1"))
    assert device.session.expires_at == datetime.fromtimestamp(EXPIRES, UTC)
    assert (device.session.key, device.session.device_id) == ("hub1/dev1", "dev1")


def test_certificate_device_has_no_expiry(house: Any) -> None:
    assert house.connect("dev1", peer_chain=house.onboard("dev1")).session.expires_at is None


def test_connection_ends_with_its_certificate_where_the_hub_is_set_to(make_house: Any) -> None:
    house = make_house(disconnect_expired_certificates=True)
    chain = house.onboard("dev1")
    assert house.connect("dev1", peer_chain=chain).session.expires_at == chain.leaf.not_valid_after_utc
    by_thumbprint = Authentication(AuthenticationType.SELF_SIGNED, primary_thumbprint=chain.sha256_thumbprint)
    house.hub.registry.provision("dev1", by_thumbprint, NOW)
    assert house.connect("dev1", peer_chain=chain).session.expires_at == chain.leaf.not_valid_after_utc
    assert "no certificate" in house.refusal("dev1")


def test_module_is_a_client_of_its_own(house: Any) -> None:
    house.register("dev1")
    house.hub.registry.create_module("dev1", "mod1", None, NOW)
    module = house.connect("dev1/mod1", password=password(house, "dev1/mod1"))
    assert module.session.key == "hub1/dev1/mod1"
    assert "neither key" in house.refusal("dev1/mod1", password=password(house, "dev1"))


def test_host_of_the_user_name_is_not_compared(house: Any) -> None:
    house.register("dev1")
    house.connect("dev1", password=password(house, "dev1"), user_name="gateway:8883/dev1/?api-version=1")


def test_malformed_user_name_is_refused(house: Any) -> None:
    assert "user name 'hub1.example'" in house.refusal("dev1", user_name="hub1.example")


@pytest.mark.parametrize("client_id", ["dev2", "DEV1", "dev1/mod1", ""])
def test_client_id_other_than_the_user_names_is_refused(house: Any, client_id: str) -> None:
    house.register("dev1")
    reason = house.refusal(client_id, user_name="h/dev1/?api-version=1", password=password(house, "dev1"))
    assert reason == f"client ID {client_id!r} is not 'dev1', the one of the user name"


def test_unknown_device_is_refused(house: Any) -> None:
    assert house.refusal("dev1", password=b"x") == "device 'dev1' is not registered in hub hub1"


def test_unknown_module_is_refused(house: Any) -> None:
    house.register("dev1")
    reason = house.refusal("dev1/mod1", password=password(house, "dev1"))
    assert reason == "device dev1 has no module 'mod1' in hub hub1"


def test_disabled_device_and_its_modules_are_refused_with_the_status_reason(house: Any) -> None:
    house.register("dev1")
    house.hub.registry.create_module("dev1", "mod1", None, NOW)
    device = house.hub.registry.get("dev1")
    house.hub.registry.update(replace(device, status=DeviceStatus.DISABLED, status_reason="stolen"), NOW)
    for client_id in ("dev1", "dev1/mod1"):
        reason = house.refusal(client_id, password=password(house, client_id))
        assert reason == "device dev1 is disabled in hub hub1: stolen"


@pytest.mark.parametrize("empty", [None, b""])
def test_sas_device_without_a_token_is_refused_even_with_a_good_certificate(house: Any, empty: bytes | None) -> None:
    chain = house.onboard("dev1")
    house.hub.registry.update(
        replace(house.hub.registry.get("dev1"), authentication=Authentication.generate_sas()), NOW
    )
    reason = house.refusal("dev1", peer_chain=chain, password=empty)
    assert reason == "dev1 is registered with sas, but presents no SAS token"


def test_certificate_device_with_an_empty_password_connects(house: Any) -> None:
    house.connect("dev1", peer_chain=house.onboard("dev1"), password=b"")


def test_certificate_device_with_a_token_is_refused(house: Any) -> None:
    chain = house.onboard("dev1")
    token = format_sas_token("hub1.example", "AAAA", EXPIRES).encode()
    reason = house.refusal("dev1", peer_chain=chain, password=token)
    assert reason == "dev1 is registered with certificateAuthority, but presents a SAS token"


def test_registered_thumbprint_decides_not_a_certificate_of_a_trusted_ca(house: Any) -> None:
    chain = house.onboard("dev1")
    by_thumbprint = Authentication(AuthenticationType.SELF_SIGNED, primary_thumbprint="A" * 40)
    house.hub.registry.update(replace(house.hub.registry.get("dev1"), authentication=by_thumbprint), NOW)
    assert "Thumbprint does not match" in house.refusal("dev1", peer_chain=chain)
