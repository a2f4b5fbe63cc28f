from typing import Any

import pytest

from hub.errors import ArgumentInvalid
from hub.query import parse_query

TWIN: dict[str, Any] = {
    "deviceId": "dev1",
    "status": "enabled",
    "tags": {"floor": 3, "site": "it's", "on": True, "none": None, "nested": {"a-b": 1.5}},
}


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("deviceId = 'dev1'", True),
        ('deviceId = "dev1"', True),
        ("deviceId = 'DEV1'", False),
        (r"tags.site = 'it\'s'", True),
        ("tags.floor = 3", True),
        ("tags.floor = 3.0", True),
        ("tags.floor = -3", False),
        ("tags.floor > 2.5e0 AND tags.floor<4", True),
        ("tags.floor >= 4 OR tags.floor <= 3", True),
        ("tags.floor != 3", False),
        ("tags.floor <> 4", True),
        ("tags.floor < '4'", False),
        ("tags.site > 'a'", True),
        ("tags.on = true", True),
        ("tags.on = 1", False),
        ("tags.on < 2", False),
        ("tags.none = null", True),
        ("tags.missing = null", False),
        ("tags.missing != 1", False),
        ("tags.floor.deeper = 1", False),
        ("tags.nested.a-b = 1.5", True),
        ("is_defined(tags.floor)", True),
        ("IS_DEFINED(tags.missing)", False),
        ("NOT is_defined(tags.missing)", True),
        ("tags.floor IN [1, 2, 3]", True),
        ("tags.floor IN ['3']", False),
        ("tags.floor NIN [1, 2]", True),
        ("tags.missing NIN [1]", False),
        ("tags.floor = 1 AND tags.floor = 3 OR status = 'enabled'", True),
        ("tags.floor = 1 AND (tags.floor = 3 OR status = 'enabled')", False),
        ("NOT (tags.floor = 3)", False),
        ("NOT NOT tags.floor = 3", True),
    ],
)
def test_condition_decides(condition: str, matches: bool) -> None:
    assert parse_query(f"SELECT * FROM devices WHERE {condition}").matches(TWIN) is matches


@pytest.mark.parametrize(
    ("text", "device_id"),
    [
        ("SELECT * FROM devices WHERE deviceId = 'dev1'", "dev1"),
        ("SELECT * FROM devices", None),
        ("SELECT * FROM devices WHERE status = 'dev1'", None),
        ("SELECT * FROM devices WHERE deviceId = 'a' OR deviceId = 'b'", None),
        ("SELECT * FROM devices WHERE NOT deviceId = 'a'", None),
        ("SELECT * FROM devices WHERE deviceId = 5", None),
    ],
)
def test_query_for_one_device_is_recognised(text: str, device_id: str | None) -> None:
    assert parse_query(text).device_id == device_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT",
        "SELECT deviceId FROM devices",
        "SELECT * FROM jobs",
        "SELECT * FROM devices.jobs",
        "SELECT * FROM devices GROUP BY status",
        "SELECT * FROM devices WHERE",
        "SELECT * FROM devices WHERE deviceId",
        "SELECT * FROM devices WHERE deviceId ~ 'a'",
        "SELECT * FROM devices WHERE deviceId ( 'a'",
        "SELECT * FROM devices WHERE deviceId LIKE 'a'",
        "SELECT * FROM devices WHERE deviceId = a",
        "SELECT * FROM devices WHERE deviceId = 'a",
        "SELECT * FROM devices WHERE deviceId IN []",
        "SELECT * FROM devices WHERE (deviceId = 'a'",
        "SELECT * FROM devices WHERE 'a' = deviceId",
        "SELECT * FROM devices WHERE " + "NOT " * 60 + "a = 1",
        "SELECT * FROM devices WHERE " + "(" * 60 + "a = 1" + ")" * 60,
        "SELECT * FROM devices WHERE a = " + "9" * 4096,
    ],
)
def test_what_is_not_offered_is_refused(text: str) -> None:
    with pytest.raises(ArgumentInvalid):
        parse_query(text)
