"""Durations as people write them."""

from datetime import timedelta

import pytest

from emulator.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("1w2d", timedelta(days=9)),
        ("1w2d3h4m5s", timedelta(days=9, hours=3, minutes=4, seconds=5)),
        ("0s", timedelta()),
        ("9999999w", timedelta(weeks=9_999_999)),
    ],
)
def test_units_add_up(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "-1d", "1.5d", "2d1w", "1d1d", "1 d", "1D", "99999999s", "1d\n", "٣d", "1y", "1d " + "9" * 99],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30d") as refused:
        parse_duration(text)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(days=30), "30d"),
        (timedelta(days=9, hours=1, seconds=5, microseconds=9), "9d1h5s"),
        (-timedelta(days=2), "-2d"),
        (timedelta(milliseconds=3), "0s"),
    ],
)
def test_duration_is_written_in_whole_units(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text
