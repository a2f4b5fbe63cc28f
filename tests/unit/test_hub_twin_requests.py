"""Twins over MQTT, through the gateway, and what services write of them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.errors import PreconditionFailed
from hub.hub import Hub
from hub.sas import format_sas_token
from hub.twin import Twin, TwinChange

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANSWERS, DESIRED = "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"
GET, PATCH = "$iothub/twin/GET/?$rid=1", "$iothub/twin/PATCH/properties/reported/?$rid=2"


def connected(house: Any, *filters: str, clean: bool = True) -> Any:
    chain = house.onboard("dev1")
    device = house.connect("dev1", clean_session=clean, peer_chain=chain)
    device.subscribe(*filters)
    return device


def test_get_answers_with_the_device_view_at_qos_0(house: Any) -> None:
    house.onboard("dev1")
    house.hub.twins.change("dev1", TwinChange(tags={"t": 1}, desired={"a": 1}), NOW)
    device = connected(house, ANSWERS)
    device.publish(GET, b" ")
    (answer,) = device.received
    assert (answer.topic, answer.qos, answer.token) == ("$iothub/twin/res/200/?$rid=1", 0, "")
    assert json.loads(answer.payload) == {"desired": {"a": 1, "$version": 2}, "reported": {"$version": 1}}


def test_request_id_comes_back_as_it_was_sent(house: Any) -> None:
    device = connected(house, ANSWERS)
    device.publish("$iothub/twin/GET/?$rid=0aF-%20x")
    assert device.received[0].topic == "$iothub/twin/res/200/?$rid=0aF-%20x"


def test_get_without_request_id_closes_the_connection(house: Any) -> None:
    device = connected(house, ANSWERS)
    device.publish("$iothub/twin/GET/")
    assert device.closed == "a twin GET without $rid cannot be answered"


def test_nobody_is_answered_without_a_subscription(house: Any) -> None:
    device = connected(house)
    device.publish(GET)
    device.publish(PATCH, b'{"a":1}')
    assert (device.received, device.closed) == ([], None)
    assert house.hub.twins.get("dev1").reported.values == {"a": 1}


def test_patch_answers_204_with_the_new_version_and_no_body(house: Any) -> None:
    device = connected(house, ANSWERS)
    device.publish(PATCH, b'{"a":{"b":1}}')
    device.publish(PATCH, b'{"a":{"b":null}}')
    assert [(answer.topic, answer.payload) for answer in device.received] == [
        ("$iothub/twin/res/204/?$rid=2&$version=2", b""),
        ("$iothub/twin/res/204/?$rid=2&$version=3", b""),
    ]
    assert house.hub.twins.get("dev1").reported.values == {"a": {}}


@pytest.mark.parametrize(
    ("topic", "body", "status", "code"),
    [
        (PATCH, b"{", 400, 400006),
        (PATCH, b"", 400, 400006),
        (PATCH, b"[]", 400, 400004),
        (PATCH, b'{"a.b":1}', 400, 400004),
        (PATCH, json.dumps({f"k{n}": "x" * 4096 for n in range(8)}).encode(), 400, 400004),
        (f"{PATCH}&$version=7", b"{}", 412, 412001),
    ],
)
def test_bad_patch_is_answered_and_changes_nothing(house: Any, topic: str, body: bytes, status: int, code: int) -> None:
    device = connected(house, ANSWERS)
    device.publish(topic, body)
    (answer,) = device.received
    assert answer.topic == f"$iothub/twin/res/{status}/?$rid=2"
    assert json.loads(answer.payload)["errorCode"] == code
    assert device.closed is None
    assert house.hub.twins.get("dev1").reported.version == 1


def test_patch_with_the_present_version_is_taken(house: Any) -> None:
    device = connected(house, ANSWERS)
    device.publish(f"{PATCH}&$version=1", b"{}")
    assert device.received[0].topic == "$iothub/twin/res/204/?$rid=2&$version=2"


@pytest.mark.parametrize("version", ["x", "-1", "99999999999", "²"])
def test_version_that_is_no_number_closes_the_connection(house: Any, version: str) -> None:
    device = connected(house, ANSWERS)
    device.publish(f"{PATCH}&$version={version}", b"{}")
    assert "is not a 32-bit whole number" in device.closed


def test_patch_without_request_id_is_done_silently_good_or_bad(house: Any) -> None:
    device = connected(house, ANSWERS)
    device.publish("$iothub/twin/PATCH/properties/reported/", b'{"a":1}')
    device.publish("$iothub/twin/PATCH/properties/reported/", b"{")
    assert (device.received, device.closed) == ([], None)
    assert house.hub.twins.get("dev1").reported.values == {"a": 1}


def change(house: Any, device: Any, wanted: TwinChange, client_id: str = "dev1") -> None:
    device.perform(house.hub.twin_requests.change(client_id, wanted, NOW)[1])


def test_connected_subscriber_is_told_of_desired_properties(house: Any) -> None:
    device = connected(house, DESIRED)
    change(house, device, TwinChange(desired={"a": 1, "b": None}))
    (told,) = device.received
    assert (told.topic, told.qos) == ("$iothub/twin/PATCH/properties/desired/?$version=2", 0)
    assert json.loads(told.payload) == {"a": 1, "b": None, "$version": 2}


def test_replacement_without_desired_properties_is_told_too(house: Any) -> None:
    device = connected(house, DESIRED)
    change(house, device, TwinChange(tags={"a": 1}, is_replacement=True))
    assert json.loads(device.received[0].payload) == {"$version": 2}


def test_change_of_tags_is_not_told(house: Any) -> None:
    device = connected(house, DESIRED)
    change(house, device, TwinChange(tags={"a": 1}))
    assert device.received == []


def test_device_that_is_away_or_not_subscribed_gets_nothing_ever(house: Any) -> None:
    device = connected(house, DESIRED, clean=False)
    device.disconnect()
    assert house.hub.twin_requests.change("dev1", TwinChange(desired={"a": 1}), NOW)[1] == []
    again = house.connect("dev1", clean_session=False, peer_chain=house.onboard("dev1"))
    assert again.session.session_present
    assert again.received == []
    again.unsubscribe(DESIRED)
    assert house.hub.twin_requests.change("dev1", TwinChange(desired={"a": 2}), NOW)[1] == []


def test_etag_guards_the_twin(house: Any) -> None:
    house.onboard("dev1")
    etag = house.hub.twins.get("dev1").etag
    house.hub.twin_requests.change("dev1", TwinChange(tags={"a": 1}), NOW, etag=etag)
    with pytest.raises(PreconditionFailed, match="AAAAAAAAAAE="):
        house.hub.twin_requests.change("dev1", TwinChange(tags={"a": 2}), NOW, etag=etag)
    assert house.hub.twins.get("dev1").tags == {"a": 1}


def test_module_has_a_twin_of_its_own(house: Any) -> None:
    house.onboard("dev1")
    key = house.hub.registry.create_module("dev1", "mod1", None, NOW).authentication.primary_key
    token = format_sas_token("hub1.example", key, 1900000000).encode()
    module = house.connect("dev1/mod1", password=token)
    module.subscribe(ANSWERS, DESIRED)
    module.publish(PATCH, b'{"a":1}')
    change(house, module, TwinChange(desired={"b": 1}), "dev1/mod1")
    assert [message.topic.split("/")[2] for message in module.received] == ["res", "PATCH"]
    assert house.hub.twins.get("dev1/mod1").reported.values == {"a": 1}
    assert house.hub.twins.get("dev1").reported.values == {}
    house.hub.registry.delete_module("dev1", "mod1")
    assert house.store.list("hub1.twins") == []


def test_twin_survives_a_restart_and_goes_with_its_device(house: Any) -> None:
    connected(house, ANSWERS).publish(PATCH, b'{"a":1}')
    again = Hub(house.hub.settings, house.store, house.adr)
    assert again.twins.get("dev1").reported.values == {"a": 1}
    again.registry.delete("dev1")
    assert again.twins.get("dev1").reported.values == {}


def test_model_of_the_user_name_stays_until_another_is_announced(house: Any) -> None:
    chain = house.onboard("dev1")
    models = []
    for option in ("&model-id=dtmi%3Aa%3B1", "", "&model-id=dtmi%3Aa%3B1", "&model-id=dtmi%3Ab%3B1"):
        house.connect("dev1", peer_chain=chain, user_name=f"hub1.example/dev1/?api-version=2020-09-30{option}")
        models.append(house.hub.twins.get("dev1").model_id)
    assert models == ["dtmi:a;1", "dtmi:a;1", "dtmi:a;1", "dtmi:b;1"]
    record = house.store.get("hub1.twins", "dev1")
    assert record.revision == 2, "an announcement of the same model writes nothing"


def test_kept_twin_is_as_it_was_and_an_empty_one_takes_no_place(house: Any) -> None:
    twin = Twin().changed(TwinChange(tags={"a": 1}), NOW)
    house.hub.twins.keep("dev1", twin)
    assert house.hub.twins.get("dev1") == twin
    house.hub.twins.keep("dev1", Twin())
    assert house.store.list("hub1.twins") == []
