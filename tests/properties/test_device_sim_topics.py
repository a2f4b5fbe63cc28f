from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from device_sim.errors import UnexpectedResponse
from device_sim.topics import (
    CREDENTIALS_PREFIX,
    DPS_PREFIX,
    MAX_RETRY_AFTER_SECONDS,
    ResponseTopic,
    format_telemetry_topic,
    parse_response_topic,
)

prefixes = st.sampled_from([DPS_PREFIX, CREDENTIALS_PREFIX])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
request_ids = st.text(st.characters(exclude_characters="&", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(prefixes, st.integers(0, 999_999_999), request_ids, st.none() | st.integers(0, MAX_RETRY_AFTER_SECONDS))
def test_response_topic_is_read_as_it_was_written(
    prefix: str, status: int, request_id: str, retry_after: int | None
) -> None:
    topic = f"{prefix}{status}/?$rid={request_id}"
    if retry_after is not None:
        topic += f"&retry-after={retry_after}"
    assert parse_response_topic(topic, prefix) == ResponseTopic(status, request_id, retry_after)


@given(prefixes, st.booleans(), st.text(max_size=60))
def test_any_topic_is_read_or_refused(prefix: str, with_prefix: bool, rest: str) -> None:
    try:
        topic = parse_response_topic(prefix + rest if with_prefix else rest, prefix)
    except UnexpectedResponse:
        return
    assert topic.request_id
    assert topic.status >= 0


@given(st.dictionaries(texts.filter(bool), texts, max_size=5))
def test_property_bag_can_be_taken_apart_again(properties: dict[str, str]) -> None:
    bag = format_telemetry_topic("dev1", properties).removeprefix("devices/dev1/messages/events/")
    assert not set(bag) & set("/+#$\0")
    pairs = [pair.split("=") for pair in bag.split("&")] if bag else []
    assert {unquote(name): unquote(value) for name, value in pairs} == properties
