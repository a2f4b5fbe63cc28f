import json
from pathlib import Path
from typing import Any

import pytest

from hub.topics import (
    Operation,
    ServiceRequest,
    UnknownTopic,
    format_credentials_topic,
    may_subscribe,
    parse_service_topic,
    parse_telemetry_topic,
    telemetry_topic,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_service_topics.json").read_text(encoding="utf-8"))
OWN = "devices/dev1/messages/events"


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_service_topic_reads_as_the_vector_says(vector: dict[str, Any]) -> None:
    if vector["expect"] is None:
        with pytest.raises(UnknownTopic):
            parse_service_topic(vector["input"])
    else:
        operation, request_id = vector["expect"]
        assert parse_service_topic(vector["input"]) == ServiceRequest(Operation(operation), request_id)


@pytest.mark.parametrize(
    ("topic", "bag"),
    [
        (OWN, ""),
        (f"{OWN}/", ""),
        (f"{OWN}/a=1", "a=1"),
        (f"{OWN}/a=1/", "a=1"),
        (f"{OWN}/a=x/y", "a=x/y"),
        (f"{OWN}2/", None),
        ("devices/dev2/messages/events/", None),
        ("devices/dev1/messages/devicebound/", None),
        ("Devices/dev1/messages/events/", None),
        ("", None),
    ],
)
def test_telemetry_topic_yields_its_bag_with_or_without_slashes(topic: str, bag: str | None) -> None:
    assert parse_telemetry_topic(topic, OWN) == bag


def test_telemetry_topic_names_device_and_module() -> None:
    assert telemetry_topic("dev1", None) == OWN
    assert telemetry_topic("dev1", "mod1") == "devices/dev1/modules/mod1/messages/events"


def test_device_id_with_wildcards_is_a_text() -> None:
    own = telemetry_topic("a+b#", None)
    assert parse_telemetry_topic("devices/a+b#/messages/events/", own) == ""
    assert parse_telemetry_topic("devices/axb/messages/events/", own) is None
    assert may_subscribe("devices/a+b#/messages/devicebound/#", "a+b#", None)
    assert not may_subscribe("devices/axb/messages/devicebound/#", "a+b#", None)
    assert not may_subscribe("devices/+/messages/devicebound/#", "+x", None)


def test_answer_topic_has_five_segments_and_ends_with_the_request_id() -> None:
    topic = format_credentials_topic(202, "156089087")
    assert topic == "$iothub/credentials/res/202/?$rid=156089087"
    assert len(topic.split("/")) == 5


DEVICE_FILTERS = [
    "devices/dev1/messages/devicebound/#",
    "$iothub/twin/res/#",
    "$iothub/twin/PATCH/properties/desired/#",
    "$iothub/methods/POST/#",
    "$iothub/credentials/res/#",
]
MODULE_FILTERS = ["devices/dev1/modules/mod1/#", "devices/dev1/modules/mod1/inputs/#", *DEVICE_FILTERS[1:4]]


@pytest.mark.parametrize("topic_filter", DEVICE_FILTERS)
def test_device_may_hold_each_documented_filter(topic_filter: str) -> None:
    assert may_subscribe(topic_filter, "dev1", None)


@pytest.mark.parametrize("topic_filter", MODULE_FILTERS)
def test_module_may_hold_each_documented_filter(topic_filter: str) -> None:
    assert may_subscribe(topic_filter, "dev1", "mod1")


@pytest.mark.parametrize(
    "topic_filter",
    [
        "#",
        "+",
        "",
        "$SYS/#",
        "devices/#",
        "devices/+/messages/devicebound/#",
        "devices/dev2/messages/devicebound/#",
        "devices/dev1/#",
        "devices/dev1/messages/events/#",
        "devices/dev1/modules/mod1/#",
        "$iothub/#",
        "$iothub/twin/#",
        "$iothub/twin/res/+",
        "$iothub/credential/res/#",
        "$dps/registrations/res/#",
    ],
)
def test_device_may_hold_no_other_filter(topic_filter: str) -> None:
    assert not may_subscribe(topic_filter, "dev1", None)


@pytest.mark.parametrize(
    "topic_filter",
    ["devices/dev1/modules/mod2/#", "devices/dev1/messages/devicebound/#", "$iothub/credentials/res/#", "#"],
)
def test_module_may_hold_no_other_filter(topic_filter: str) -> None:
    assert not may_subscribe(topic_filter, "dev1", "mod1")
