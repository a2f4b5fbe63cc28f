"""Durations as people write them: `90s`, `12h`, `30d`, `1w2d`."""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

UNITS: Mapping[str, timedelta] = MappingProxyType(
    {
        "w": timedelta(weeks=1),
        "d": timedelta(days=1),
        "h": timedelta(hours=1),
        "m": timedelta(minutes=1),
        "s": timedelta(seconds=1),
    }
)
# Each unit at most once, the largest first; seven digits of weeks still fit into a timedelta.
DURATION = re.compile("".join(f"(?:([0-9]{{1,7}}){unit})?" for unit in UNITS))


def parse_duration(text: str) -> timedelta:
    """Read whole numbers with the units w, d, h, m and s, each at most once and the largest first.

    Raises:
        ValueError: the text has another form.
    """
    form = DURATION.fullmatch(text)
    if not text or form is None:
        raise ValueError(
            f"{text[:40]!r} is not a duration: write whole numbers with w, d, h, m or s, such as 30d or 1w2d"
        )
    amounts = zip(form.groups(), UNITS.values(), strict=True)
    return sum((int(amount) * unit for amount, unit in amounts if amount), timedelta())


def format_duration(duration: timedelta) -> str:
    """Write a duration in days, hours, minutes and seconds; parts of a second are left out."""
    if duration < timedelta():
        return f"-{format_duration(-duration)}"
    rest, parts = duration, []
    for unit, size in UNITS.items():
        if unit == "w":
            continue
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"
