"""The topics of DPS."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dps.topics import (
    GetOperationStatus,
    RegisterDevice,
    UnknownTopic,
    format_response_topic,
    format_topic,
    parse_topic,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dps_topics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_topic_is_read_as_the_vector_says(vector: dict[str, Any]) -> None:
    expect = dict(vector["expect"])
    if "error" in expect:
        with pytest.raises(UnknownTopic, match=re.escape(expect["error"])):
            parse_topic(vector["input"])
        return
    command = {"RegisterDevice": RegisterDevice, "GetOperationStatus": GetOperationStatus}[expect.pop("command")]
    assert parse_topic(vector["input"]) == command(**expect)


def test_topics_are_written_as_devices_write_them() -> None:
    assert format_topic(RegisterDevice("1")) == "$dps/registrations/PUT/iotdps-register/?$rid=1"
    assert (
        format_topic(GetOperationStatus("2", "5.a.b"))
        == "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=5.a.b"
    )


def test_retry_after_stands_last() -> None:
    assert format_response_topic(202, "a", 3) == "$dps/registrations/res/202/?$rid=a&retry-after=3"
    assert format_response_topic(200, "a") == "$dps/registrations/res/200/?$rid=a"
