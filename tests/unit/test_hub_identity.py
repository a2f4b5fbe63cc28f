import base64
from datetime import UTC, datetime

import pytest

from hub.errors import ArgumentInvalid
from hub.identity import (
    Authentication,
    AuthenticationType,
    check_authentication,
    check_device_id,
    format_etag,
    generate_generation_id,
    generate_key,
)

SAS, SELF_SIGNED = AuthenticationType.SAS, AuthenticationType.SELF_SIGNED


@pytest.mark.parametrize("device_id", ["d", "d" * 128, "A9-:.+%_#*?!(),=@;$'"])
def test_device_id_within_the_rule_is_accepted(device_id: str) -> None:
    check_device_id(device_id)


@pytest.mark.parametrize("device_id", ["", "d" * 129, "a/b", "a b", "é", "a\n", "a&b", '"'])
def test_device_id_outside_the_rule_is_refused(device_id: str) -> None:
    with pytest.raises(ArgumentInvalid, match="deviceId"):
        check_device_id(device_id)


def test_module_id_is_named_in_its_refusal() -> None:
    with pytest.raises(ArgumentInvalid, match="moduleId"):
        check_device_id("a/b", "moduleId")


def key(length: int) -> str:
    return base64.b64encode(bytes(length)).decode()


@pytest.mark.parametrize(
    "authentication",
    [
        Authentication(SAS, key(16), key(64)),
        Authentication(SELF_SIGNED, primary_thumbprint="a" * 40, secondary_thumbprint="B" * 64),
        Authentication(SELF_SIGNED),
        Authentication(AuthenticationType.CERTIFICATE_AUTHORITY),
    ],
)
def test_authentication_within_the_rules_is_accepted(authentication: Authentication) -> None:
    check_authentication(authentication)


@pytest.mark.parametrize(
    ("authentication", "rule"),
    [
        (Authentication(SAS, key(15), key(16)), "primaryKey is not base64 of 16–64 bytes"),
        (Authentication(SAS, key(16), key(65)), "secondaryKey is not base64 of 16–64 bytes"),
        (Authentication(SAS, "?!?!", key(16)), "primaryKey is not base64"),
        (Authentication(SAS, "ключ", key(16)), "primaryKey is not base64"),
        (Authentication(SAS, key(16)), "both or neither"),
        (Authentication(SAS, None, key(16)), "both or neither"),
        (Authentication(SELF_SIGNED, key(16), key(16)), "symmetricKey does not go with authentication type selfSigned"),
        (Authentication(SAS, primary_thumbprint="a" * 40), "x509Thumbprint does not go with authentication type sas"),
        (Authentication(SELF_SIGNED, primary_thumbprint="a" * 41), "is not 40 or 64 hex digits"),
        (Authentication(SELF_SIGNED, secondary_thumbprint="AA:" * 20), "is not 40 or 64 hex digits"),
        (Authentication(AuthenticationType.NONE), "type none is not for devices"),
    ],
)
def test_authentication_outside_the_rules_is_refused(authentication: Authentication, rule: str) -> None:
    with pytest.raises(ArgumentInvalid, match=rule) as refusal:
        check_authentication(authentication)
    assert authentication.primary_key is None or authentication.primary_key not in str(refusal.value)


def test_representation_hides_keys() -> None:
    authentication = Authentication.generate_sas()
    assert str(authentication.primary_key) not in repr(authentication)
    assert str(authentication.secondary_key) not in repr(authentication)


def test_generated_keys_are_32_random_bytes() -> None:
    assert len(base64.b64decode(generate_key())) == 32
    assert generate_key() != generate_key()


def test_generation_id_is_ticks_of_the_second_and_differs_at_the_same_moment() -> None:
    now = datetime(2021, 5, 11, 12, 30, 44, tzinfo=UTC)
    generations = {generate_generation_id(now) for _ in range(20)}
    assert len(generations) > 1
    assert all(text[:11] == "63756333044" and len(text) == 18 for text in generations)


def test_etag_is_base64_of_a_decimal_counter_and_rises_with_the_revision() -> None:
    first, second = format_etag("637547758448037735", 1), format_etag("637547758448037735", 2)
    assert base64.b64decode(first) == b"448037736"
    assert base64.b64decode(second) == b"448037737"
