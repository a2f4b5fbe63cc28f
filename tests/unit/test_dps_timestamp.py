"""Timestamps with seven digits."""

from datetime import UTC, datetime

import pytest

from dps.timestamp import format_timestamp, parse_timestamp


@pytest.mark.parametrize(
    ("microsecond", "fraction"), [(0, "0000000"), (1, "0000010"), (123456, "1234560"), (999999, "9999990")]
)
def test_timestamp_has_seven_digits(microsecond: int, fraction: str) -> None:
    moment = datetime(2026, 11, 23, 10, 0, 0, microsecond, tzinfo=UTC)
    assert format_timestamp(moment) == f"2026-11-23T10:00:00.{fraction}Z"
    assert parse_timestamp(format_timestamp(moment)) == moment


def test_naive_time_is_a_programming_error() -> None:
    with pytest.raises(AssertionError, match="not UTC"):
        format_timestamp(datetime(2026, 11, 23))  # noqa: DTZ001


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23T10:00:00"])
def test_text_without_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(text)
