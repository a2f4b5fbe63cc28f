"""Durations and rates as people read them."""


def format_seconds(seconds: float) -> str:
    """Write a latency with three digits: `850 µs`, `12.3 ms`, `1.20 s`, `95.0 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{_three_digits(seconds * 1e3)} ms"
    return f"{_three_digits(seconds)} s"


def format_duration(seconds: float) -> str:
    """Write how long something goes on: `8.4 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_rate(per_second: float) -> str:
    """Write how often something happens a second, without the unit: `0.12`, `8.4`, `1,310`."""
    return f"{per_second:,.0f}" if per_second >= 99.5 else f"{per_second:.3g}"


def _three_digits(number: float) -> str:
    if number < 9.995:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"
