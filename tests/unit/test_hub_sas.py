import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.sas import (
    SasKeyError,
    SasTokenError,
    derive_device_key,
    format_sas_token,
    parse_sas_token,
    verify_sas_signature,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_sas_tokens.json").read_text(encoding="utf-8"))
GROUP_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
DEVICE_KEY = "7//TATd+SB49A5b70C7un84bm4u/cjMJ9YU5X+UQplQ="
TOKEN = VECTORS[0]["input"]["token"]


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_token_reads_and_verifies_as_the_vector_says(vector: dict[str, Any]) -> None:
    text, key, expected = vector["input"]["token"], vector["input"]["key"], vector["expect"]
    if expected is None:
        with pytest.raises(SasTokenError):
            parse_sas_token(text)
        return
    token = parse_sas_token(text)
    assert (token.resource, token.expiry_text) == (expected["resource"], expected["expiry_text"])
    assert token.policy_name == expected["policy_name"]
    assert token.expires_at.timestamp() == int(expected["expiry_text"])
    assert verify_sas_signature(token, key) is expected["verifies"]


def test_expiry_is_unix_seconds_in_utc() -> None:
    assert parse_sas_token(TOKEN).expires_at == datetime(2026, 11, 18, 11, 6, 40, tzinfo=UTC)


def test_another_key_does_not_verify() -> None:
    assert not verify_sas_signature(parse_sas_token(TOKEN), GROUP_KEY)


def test_device_key_is_derived_from_the_group_key() -> None:
    assert derive_device_key(GROUP_KEY, "sensor-001") == DEVICE_KEY
    assert derive_device_key(GROUP_KEY, "Sensor-001") != DEVICE_KEY


def test_format_writes_what_sdks_write() -> None:
    resource = "0ne00ABCDEF%2Fregistrations%2Fsensor-001"
    assert format_sas_token(resource, DEVICE_KEY, 1795000000, "registration") == TOKEN
    assert format_sas_token(resource, DEVICE_KEY, 1795000000) == TOKEN.removesuffix("&skn=registration")


@pytest.mark.parametrize("key", ["not base64!", "ключ", "AAA"])
def test_key_that_is_not_base64_is_refused_without_showing_it(key: str) -> None:
    for use in (
        lambda: derive_device_key(key, "sensor-001"),
        lambda: format_sas_token("a", key, 1),
        lambda: verify_sas_signature(parse_sas_token(TOKEN), key),
    ):
        with pytest.raises(SasKeyError) as refusal:
            use()
        assert key not in str(refusal.value)


def test_neither_representation_nor_errors_show_a_signature() -> None:
    token = parse_sas_token(TOKEN)
    assert repr(token.signature) not in repr(token)
    for broken in (TOKEN.replace("sig=", "sig=%21"), f"{TOKEN}&sig=x"):
        with pytest.raises(SasTokenError) as refusal:
            parse_sas_token(broken)
        assert "K4Z3pfTFL9L63" not in str(refusal.value)
