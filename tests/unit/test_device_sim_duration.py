import pytest

from device_sim.duration import format_duration, format_rate, format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 µs"), (0.00085, "850 µs"), (0.001, "1.00 ms"), (0.0123, "12.3 ms"), (0.25, "250 ms"),
        (0.9996, "1.00 s"), (1.2, "1.20 s"), (9.996, "10.0 s"), (95.04, "95.0 s"), (1234.5, "1234 s"),
    ],
)  # fmt: skip
def test_latencies_have_three_digits(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.42, "8.4 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (3720, "1 h 02 min"), (90_000, "25 h 00 min")],
)
def test_lengths_are_told_in_the_largest_units(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"), [(0, "0"), (0.1234, "0.123"), (8.4, "8.4"), (99.6, "100"), (1310.2, "1,310")]
)
def test_rate_is_never_written_with_an_exponent(per_second: float, text: str) -> None:
    assert format_rate(per_second) == text
