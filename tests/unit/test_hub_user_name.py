import json
from pathlib import Path
from typing import Any

import pytest

from hub.user_name import UserNameError, parse_user_name

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_user_names.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_user_name_reads_as_the_vector_says(vector: dict[str, Any]) -> None:
    expected = vector["expect"]
    if expected is None:
        with pytest.raises(UserNameError):
            parse_user_name(vector["input"])
        return
    user = parse_user_name(vector["input"])
    assert (user.host, user.device_id, user.module_id) == (
        expected["host"],
        expected["device_id"],
        expected["module_id"],
    )
    assert user.options == expected["options"]


def test_client_id_is_the_device_or_device_and_module() -> None:
    assert parse_user_name("h/dev1/?api-version=1").client_id == "dev1"
    assert parse_user_name("h/dev1/mod1/?api-version=1").client_id == "dev1/mod1"


def test_absent_options_have_an_empty_api_version_and_no_model() -> None:
    user = parse_user_name("h/dev1")
    assert (user.api_version, user.model_id) == ("", None)


def test_options_give_api_version_and_model() -> None:
    user = parse_user_name("h/dev1/?api-version=2020-09-30&model-id=dtmi%3Aa%3B1")
    assert (user.api_version, user.model_id) == ("2020-09-30", "dtmi:a;1")


def test_error_names_the_identifier_and_the_rule() -> None:
    with pytest.raises(UserNameError, match=r"'dev 1' .* 1–128 of"):
        parse_user_name("h/dev 1/?api-version=1")
