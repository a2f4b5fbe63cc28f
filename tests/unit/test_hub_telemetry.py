"""Telemetry, through the gateway and into the event log."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from broker.gateway import Will
from hub.sas import format_sas_token

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOPIC = "devices/dev1/messages/events/"
LIMIT = 262_144


@pytest.fixture
def device(house: Any) -> Any:
    return house.connect("dev1", peer_chain=house.onboard("dev1"))


def events(device: Any) -> Any:
    log = device.hub.event_log
    return [event for partition in range(log.partition_count) for event in log.read(partition)]


@pytest.mark.parametrize("qos", [0, 1])
def test_message_is_stored_with_who_sent_it(device: Any, qos: int) -> None:
    device.publish(TOPIC, b"\x00body\xff", qos)
    (event,) = events(device)
    assert (event.body, event.device_id, event.enqueued_time, event.properties) == (b"\x00body\xff", "dev1", NOW, {})
    generation = device.hub.registry.get("dev1").generation_id
    assert event.system_properties["iothub-connection-auth-generation-id"] == generation
    assert event.system_properties["iothub-message-source"] == "Telemetry"
    method = json.loads(event.system_properties["iothub-connection-auth-method"])
    assert (method["scope"], method["type"]) == ("device", "x509CertificateAuthority")
    assert (device.received, device.closed) == ([], None)


def test_bag_becomes_system_and_application_properties(device: Any) -> None:
    device.publish(f"{TOPIC}%24.mid=m1&%24.ct=application%2Fjson&p%20q=v%20w&flag/", b"{}")
    (event,) = events(device)
    assert event.system_properties["message-id"] == "m1"
    assert event.system_properties["content-type"] == "application/json"
    assert event.properties == {"p q": "v w", "flag": None}


def test_messages_of_a_device_keep_their_order(device: Any) -> None:
    for n in range(10):
        device.publish(TOPIC, bytes([n]))
    assert [event.body[0] for event in events(device)] == list(range(10))


def test_retain_becomes_a_property(device: Any) -> None:
    device.publish(TOPIC, b"x", retain=True)
    assert events(device)[0].properties == {"mqtt-retain": "true"}


def test_model_id_is_the_schema_of_every_event(house: Any) -> None:
    name = "hub1.example/dev1/?api-version=2020-09-30&model-id=dtmi%3Aa%3B1"
    device = house.connect("dev1", peer_chain=house.onboard("dev1"), user_name=name)
    device.publish(TOPIC)
    assert events(device)[0].system_properties["dt-dataschema"] == "dtmi:a;1"


def test_module_sends_on_its_own_topic_only(house: Any) -> None:
    house.register("dev1")
    key = house.hub.registry.create_module("dev1", "mod1", None, NOW).authentication.primary_key
    token = format_sas_token("hub1.example", key, 1900000000).encode()
    module = house.connect("dev1/mod1", password=token)
    module.publish("devices/dev1/modules/mod1/messages/events/", b"x")
    (event,) = events(module)
    assert (event.device_id, event.module_id) == ("dev1", "mod1")
    module.publish(TOPIC, b"x")
    assert module.closed is not None
    assert len(events(module)) == 1


@pytest.mark.parametrize(
    "topic",
    [
        "devices/dev2/messages/events/",
        "devices/dev10/messages/events/",
        "devices/dev1/modules/m/messages/events/",
        "devices/dev1/messages/devicebound/",
        "$iothub/twin/PUT/?$rid=1",
        "$SYS/x",
        "any/topic",
        "",
    ],
)
def test_publish_to_any_other_topic_closes_the_connection(device: Any, topic: str) -> None:
    device.publish(topic, b"x")
    assert device.closed == f"topic {topic!r} is not one a device may publish to"
    assert events(device) == []


def test_qos_2_closes_the_connection(device: Any) -> None:
    device.publish(TOPIC, b"x", 2)
    assert device.closed == "PUBLISH with QoS 2: at most QoS 1 is allowed"
    assert events(device) == []


@pytest.mark.parametrize("bag", ["=1", "a=%ff"])
def test_malformed_bag_closes_the_connection(device: Any, bag: str) -> None:
    device.publish(TOPIC + bag, b"x")
    assert device.closed is not None
    assert events(device) == []


@pytest.mark.parametrize(("bag", "counted"), [("", 0), ("%24.mid=m1", 2), ("key=value", 8)])
def test_message_may_have_256_kib_as_the_service_counts_and_not_a_byte_more(
    device: Any, bag: str, counted: int
) -> None:
    device.publish(TOPIC + bag, bytes(LIMIT - counted))
    assert device.closed is None
    device.publish(TOPIC + bag, bytes(LIMIT - counted + 1))
    assert device.closed == f"dev1: message of {LIMIT + 1} bytes is larger than {LIMIT}"
    assert len(events(device)) == 1


# Will


def connect_with(house: Any, will: Will) -> Any:
    return house.connect("dev1", peer_chain=house.onboard("dev1"), will=will)


def test_will_is_telemetry_with_its_message_type(house: Any) -> None:
    will = Will(f"{TOPIC}reason=gone", b"bye", 1, retain=True)
    device = connect_with(house, will)
    device.disconnect(will)
    (event,) = events(device)
    assert event.body == b"bye"
    assert event.properties == {"reason": "gone", "mqtt-retain": "true", "iothub-MessageType": "Will"}


def test_graceful_disconnect_sends_no_will(house: Any) -> None:
    device = connect_with(house, Will(TOPIC, b"bye", 0, retain=False))
    device.disconnect()
    assert events(device) == []


@pytest.mark.parametrize(
    ("will", "rule"),
    [
        (Will("devices/dev2/messages/events/", b"", 0, retain=False), "is not the device's own devices/dev1/messages"),
        (Will("any", b"", 0, retain=False), "is not the device's own"),
        (Will(TOPIC, b"", 2, retain=False), "will with QoS 2"),
        (Will(f"{TOPIC}=1", b"", 0, retain=False), "will topic: a property has the value '1' but no name"),
    ],
)
def test_connect_with_a_will_that_breaks_a_rule_is_refused(house: Any, will: Will, rule: str) -> None:
    chain = house.onboard("dev1")
    assert rule in house.refusal("dev1", peer_chain=chain, will=will)
    assert house.store.list("hub1.sessions") == []


def test_will_over_the_limit_is_dropped_and_the_session_still_ends(house: Any) -> None:
    will = Will(TOPIC, bytes(LIMIT + 1), 1, retain=False)
    device = connect_with(house, will)
    device.subscribe("$iothub/twin/res/#")
    device.disconnect(will)
    assert events(device) == []
    assert house.store.list("hub1.sessions") == []
