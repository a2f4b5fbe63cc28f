import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.gateway import ConnectReturnCode, Gateway, Refusal
from hub.hub import Hub
from hub.sas import format_sas_token

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FILTERS = (
    "devices/dev1/messages/devicebound/#",
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
    "$iothub/methods/POST/#",
    "$iothub/credentials/res/#",
)


def as_gateway(hub: Hub) -> Gateway:
    """mypy checks here that the hub's gateway is one."""
    return hub.gateway


def test_refused_connect_leaves_the_rightful_session_alone(house: Any) -> None:
    chain = house.onboard("dev1")
    device = house.connect("dev1", clean_session=False, peer_chain=chain)
    device.subscribe(*FILTERS)
    before = house.store.list("hub1.sessions")
    for clean in (True, False):
        house.refusal("dev1", clean_session=clean)
    assert house.store.list("hub1.sessions") == before


def test_resumed_session_is_authenticated_again(house: Any) -> None:
    house.connect("dev1", clean_session=False, peer_chain=house.onboard("dev1")).disconnect()
    other = house.onboard("dev2")
    house.refusal("dev1", clean_session=False)
    house.refusal("dev1", clean_session=False, peer_chain=other)


def test_refusal_has_code_5_and_its_reason_is_logged(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hub"):
        refusal = as_gateway(house.hub).connect(house.request("dev1"), NOW)
    assert refusal == Refusal(ConnectReturnCode.NOT_AUTHORIZED, "device 'dev1' is not registered in hub hub1")
    assert "device dev1: refused by hub hub1: device 'dev1' is not registered in hub hub1" in caplog.text


def test_logs_show_no_token(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    house.register("dev1")
    token = format_sas_token("hub1.example", "c2VjcmV0LWtleS1zZWNyZXQta2V5", 1900000000)
    signature = token.partition("sig=")[2].partition("&")[0]
    with caplog.at_level(logging.DEBUG):
        assert signature not in house.refusal("dev1", password=token.encode())
        house.refusal("dev1", password=f"{token}&sig=x".encode())
    assert signature not in caplog.text


def test_all_documented_filters_fit_into_the_limit(house: Any) -> None:
    device = house.connect("dev1", peer_chain=house.onboard("dev1"))
    device.subscribe(*FILTERS)
    device.subscribe(*FILTERS)
    assert device.closed is None


def test_one_subscription_too_many_closes_the_connection(make_house: Any) -> None:
    house = make_house(max_subscriptions=4)
    device = house.connect("dev1", peer_chain=house.onboard("dev1"))
    device.subscribe(*FILTERS[:4])
    assert device.closed is None
    device.subscribe(FILTERS[4])
    assert device.closed == "SUBSCRIBE would exceed the 4 subscriptions a connection may hold"


def test_subscription_too_many_is_not_remembered(make_house: Any) -> None:
    house = make_house(max_subscriptions=1)
    chain = house.onboard("dev1")
    device = house.connect("dev1", clean_session=False, peer_chain=chain)
    device.subscribe(FILTERS[0])
    device.subscribe(FILTERS[1])
    again = house.connect("dev1", clean_session=False, peer_chain=chain)
    again.subscribe(FILTERS[0])
    assert again.closed is None


def test_filter_outside_the_list_may_not_be_subscribed(house: Any) -> None:
    session = house.connect("dev1", peer_chain=house.onboard("dev1")).session
    assert not house.hub.gateway.may_subscribe(session, "devices/dev2/messages/devicebound/#")


def test_module_gets_no_certificate(house: Any) -> None:
    house.onboard("dev1")
    key = house.hub.registry.create_module("dev1", "mod1", None, NOW).authentication.primary_key
    token = format_sas_token("hub1.example", key, 1900000000).encode()
    module = house.connect("dev1/mod1", password=token)
    module.publish("$iothub/credentials/POST/issueCertificate/?$rid=abcd", b"{}")
    assert (module.received, module.closed) == ([], None)
    assert house.store.list("hub1.credentials") == []


def test_two_hubs_of_one_process_keep_their_devices_apart(house: Any) -> None:
    other = Hub(replace(house.hub.settings, name="hub2", host_name="hub2.example"), house.store, house.adr)
    chain = house.onboard("dev1")
    refusal = other.gateway.connect(house.request("dev1", peer_chain=chain), NOW)
    assert refusal == Refusal(ConnectReturnCode.NOT_AUTHORIZED, "device 'dev1' is not registered in hub hub2")


def test_tick_of_an_idle_hub_does_nothing(house: Any) -> None:
    assert house.hub.gateway.tick(NOW) == []
