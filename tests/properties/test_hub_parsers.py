"""What is written reads back, and no text raises anything but the documented error."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adr.store import Record
from emulator.store import SqliteStore
from hub.credential_operation import Operation, Result, format_operation, parse_operation
from hub.credential_request import parse_credential_request
from hub.errors import ArgumentInvalid, IotHubFormatError
from hub.event_log import EventLog
from hub.property_bag import PropertyBagError, format_property_bag, parse_property_bag
from hub.sas import SasTokenError, format_sas_token, parse_sas_token, verify_sas_signature
from hub.topics import (
    UnknownTopic,
    format_credentials_topic,
    may_subscribe,
    parse_service_topic,
    parse_telemetry_topic,
    telemetry_topic,
)
from hub.user_name import UserNameError, parse_user_name

device_ids = st.text("ABCXYZabcxyz0189-:.+%_#*?!(),=@;$'", min_size=1, max_size=128)
texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.binary(min_size=16, max_size=64).map(lambda raw: base64.b64encode(raw).decode())
moments = st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (hypothesis adds it)


@given(st.dictionaries(texts.filter(bool), st.none() | texts))
def test_property_bag_reads_back(bag: dict[str, str | None]) -> None:
    text = format_property_bag(bag)
    assert text.isascii()
    assert not set(text) & set("/+#$ ")
    assert parse_property_bag(text) == bag


@given(st.dictionaries(texts.filter(bool), st.none() | texts, min_size=1))
def test_every_prefix_of_a_property_bag_is_read_or_refused(bag: dict[str, str | None]) -> None:
    """A truncated escape or name is another bag; only what is no UTF-8 any more is refused."""
    text = format_property_bag(bag)
    for end in range(len(text)):
        try:
            parse_property_bag(text[:end])
        except PropertyBagError as refusal:
            assert "UTF-8" in str(refusal) or "no name" in str(refusal)


@given(texts.filter(bool), keys, st.integers(0, 253402300799), st.none() | texts.filter(bool))
def test_sas_token_reads_back_and_verifies(resource: str, key: str, expires_at: int, policy: str | None) -> None:
    raw = quote(resource, safe="")
    token = parse_sas_token(format_sas_token(raw, key, expires_at, policy))
    assert (token.resource, token.expiry_text, token.policy_name) == (raw, str(expires_at), policy)
    assert verify_sas_signature(token, key)


@given(keys, st.integers(10**9, 2 * 10**9))
def test_no_truncated_sas_token_verifies(key: str, expires_at: int) -> None:
    text = format_sas_token("hub1.example%2Fdevices%2Fdev1", key, expires_at)
    for end in range(len(text)):
        try:
            token = parse_sas_token(text[:end])
        except SasTokenError:
            continue
        assert not verify_sas_signature(token, key)


@given(device_ids, st.none() | device_ids, texts.filter(bool), texts)
def test_user_name_reads_back(device_id: str, module_id: str | None, option: str, value: str) -> None:
    ids = device_id if module_id is None else f"{device_id}/{module_id}"
    text = f"hub1.example/{ids}/?api-version=2021-04-12&x{quote(option, safe='')}={quote(value, safe='')}"
    user = parse_user_name(text)
    assert (user.host, user.device_id, user.module_id) == ("hub1.example", device_id, module_id)
    assert user.options == {"api-version": "2021-04-12", f"x{option}": value}


@given(device_ids)
def test_every_prefix_of_a_user_name_is_refused_or_names_a_prefix_of_the_device(device_id: str) -> None:
    text = f"hub1.example/{device_id}/?api-version=2021-04-12"
    for end in range(len(text)):
        try:
            user = parse_user_name(text[:end])
        except UserNameError:
            continue
        assert device_id.startswith(user.device_id)
        assert user.module_id is None


@given(device_ids, st.none() | device_ids, st.dictionaries(texts.filter(bool), texts, min_size=1))
def test_telemetry_topic_yields_the_bag(device_id: str, module_id: str | None, bag: dict[str, str | None]) -> None:
    own, text = telemetry_topic(device_id, module_id), format_property_bag(bag)
    for topic in (f"{own}/{text}", f"{own}/{text}/"):
        assert parse_telemetry_topic(topic, own) == text
    assert parse_telemetry_topic(own, own) == parse_telemetry_topic(f"{own}/", own) == ""


@given(device_ids, device_ids)
def test_no_device_reaches_another_devices_topics(device_id: str, other: str) -> None:
    topic = telemetry_topic(other, None)
    assert (parse_telemetry_topic(f"{topic}/", telemetry_topic(device_id, None)) is None) == (device_id != other)
    granted = may_subscribe(f"devices/{other}/messages/devicebound/#", device_id, None)
    assert granted == (device_id == other)


@given(st.text("abcXYZ019-._~%$@", min_size=1), st.sampled_from([200, 202, 400, 409]))
def test_request_id_is_echoed_as_sent(request_id: str, status: int) -> None:
    request = parse_service_topic(f"$iothub/credentials/POST/issueCertificate/?$rid={request_id}")
    assert request.request_id == request_id
    assert format_credentials_topic(status, request_id).partition("$rid=")[2] == request_id


@given(st.builds(Operation, device_ids, texts, texts, moments, moments, st.binary()), st.none() | texts)
def test_certificate_operation_reads_back(operation: Operation, body: str | None) -> None:
    if body is not None:
        operation = replace(operation, result=Result(200, body.encode()))
    assert parse_operation(Record(operation.device_id, format_operation(operation), 1)) == operation


@given(device_ids, st.dictionaries(texts, texts), st.dictionaries(texts, st.none() | texts), st.binary(), moments)
def test_event_reads_back(
    device_id: str, system: dict[str, str], properties: dict[str, str | None], body: bytes, now: datetime
) -> None:
    with SqliteStore(":memory:") as store:
        log = EventLog(store, "hub1", 2)
        log.append(log.source(device_id, {}), body, now, system, properties)
        (event,) = log.read(log.partition_of(device_id))
    assert (event.device_id, event.body, event.enqueued_time) == (device_id, body, now)
    assert event.system_properties == {**system, "iothub-connection-device-id": device_id}
    assert event.properties == properties


PARSERS: list[Any] = [
    (parse_property_bag, PropertyBagError),
    (parse_sas_token, SasTokenError),
    (parse_user_name, UserNameError),
    (parse_service_topic, UnknownTopic),
]


@pytest.mark.parametrize(("parse", "error"), PARSERS, ids=lambda value: getattr(value, "__name__", ""))
@given(text=st.text() | st.text("$%&=/?+#aA0 ioathubsrgek-:"))
def test_no_text_raises_anything_but_the_documented_error(
    parse: Callable[[str], object], error: type[Exception], text: str
) -> None:
    for candidate in (text, f"SharedAccessSignature {text}", f"hub/{text}", f"$iothub/{text}"):
        try:
            parse(candidate)
        except error as refusal:
            assert str(refusal)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
requests = st.fixed_dictionaries(
    {}, optional={"id": st.just("dev1") | json_values, "csr": st.just("AAAA") | json_values, "replace": json_values}
)


@given(st.binary() | (json_values | requests).map(lambda value: json.dumps(value).encode()))
def test_no_certificate_request_raises_anything_but_the_documented_errors(body: bytes) -> None:
    try:
        request = parse_credential_request(body, "dev1")
    except (ArgumentInvalid, IotHubFormatError) as refusal:
        assert str(refusal).isascii()
    else:
        assert request.csr


def test_every_truncated_certificate_request_is_refused() -> None:
    body = b'{"id":"dev1","csr":"AAAA","replace":"12345678"}'
    assert parse_credential_request(body, "dev1").replace == "12345678"
    for end in range(len(body)):
        with pytest.raises((ArgumentInvalid, IotHubFormatError)):
            parse_credential_request(body[:end], "dev1")
