"""The user name of a CONNECT to DPS."""

import json
from pathlib import Path
from typing import Any

import pytest

from dps.user_name import UserNameError, format_user_name, parse_user_name

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "dps_user_names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_user_name_is_read_as_the_vector_says(vector: dict[str, Any]) -> None:
    expect = vector["expect"]
    if "error" in expect:
        with pytest.raises(UserNameError) as refusal:
            parse_user_name(vector["input"])
        assert expect["error"] in str(refusal.value)
        return
    user_name = parse_user_name(vector["input"])
    assert user_name.id_scope == expect["id_scope"]
    assert user_name.registration_id == expect["registration_id"]
    assert user_name.api_version.text == expect["api_version"]
    assert user_name.client_version == expect["client_version"]


@pytest.mark.parametrize(
    "text",
    [
        "0ne0/registrations/a/api-version=2019-03-31",
        "0ne0/registrations/a/api-version=2019-03-31&ClientVersion=x%2F1%20%26",
    ],
)
def test_user_name_is_written_as_it_was_read(text: str) -> None:
    assert format_user_name(parse_user_name(text)) == text


def test_long_user_name_is_cut_in_the_message() -> None:
    with pytest.raises(UserNameError) as refusal:
        parse_user_name("x" * 65_535)
    assert len(str(refusal.value)) < 400
