"""Topics: what is written is read back, and nothing else raises."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from dps.topics import (
    GET_OPERATION_STATUS,
    REGISTER,
    GetOperationStatus,
    RegisterDevice,
    UnknownTopic,
    format_response_topic,
    format_topic,
    parse_topic,
)

FIELDS = st.text(st.characters(blacklist_characters="&", blacklist_categories=["Cs"]), min_size=1, max_size=50)
COMMANDS = st.builds(RegisterDevice, FIELDS) | st.builds(GetOperationStatus, FIELDS, FIELDS)


@given(COMMANDS)
def test_topic_is_read_as_it_was_written(command: RegisterDevice | GetOperationStatus) -> None:
    assert parse_topic(format_topic(command)) == command


@given(
    st.text(max_size=200)
    | st.text("$rid=operationId&?x", max_size=60).map(REGISTER.__add__)
    | st.text("$rid=operationId&?x", max_size=60).map(GET_OPERATION_STATUS.__add__)
)
def test_any_text_is_read_or_refused(topic: str) -> None:
    with contextlib.suppress(UnknownTopic):
        assert parse_topic(topic).request_id


@given(COMMANDS, st.data())
def test_truncated_topic_is_refused_or_has_shorter_fields(
    command: RegisterDevice | GetOperationStatus, data: st.DataObject
) -> None:
    topic = format_topic(command)
    prefix = topic[: data.draw(st.integers(0, len(topic) - 1))]
    try:
        read = parse_topic(prefix)
    except UnknownTopic:
        return
    assert type(read) is type(command)
    assert read != command
    assert command.request_id.startswith(read.request_id)


@given(st.integers(100, 599), FIELDS, st.none() | st.integers(0, 10_000))
def test_response_topic_holds_the_request_id_unchanged(status: int, request_id: str, retry_after: int | None) -> None:
    topic = format_response_topic(status, request_id, retry_after)
    assert topic.startswith(f"$dps/registrations/res/{status}/?$rid={request_id}")
    assert topic.removeprefix(f"$dps/registrations/res/{status}/?$rid={request_id}") == (
        "" if retry_after is None else f"&retry-after={retry_after}"
    )
