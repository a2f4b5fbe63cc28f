"""Durations counted in the buckets of an HDR histogram: 1 µs to 1 h, three significant digits.

Counting is ours (an addition in a dict, where hdrh's own takes two microseconds); its buckets and its encoding are
those of every HdrHistogram library.
"""

import math
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from zlib import error as ZlibError  # noqa: N812 - zlib's class has a small letter

from hdrh.codec import HdrCookieException, HdrLengthException  # type: ignore[import-untyped]
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

LOWEST_MICROSECONDS: Final = 1
HIGHEST_MICROSECONDS: Final = 3_600_000_000
SIGNIFICANT_DIGITS: Final = 3

# With three digits a power of two is divided into 1024 buckets; below 2048 µs a bucket is one microsecond.
_DIVISION_BITS: Final = 10


def bucket_of(seconds: float) -> int:
    """Number the bucket of a duration; what is out of range counts as 0 or as one hour."""
    return bucket_of_microseconds(int(seconds * 1e6))


def bucket_of_microseconds(microseconds: int) -> int:
    """Number the bucket of a duration in microseconds."""
    if microseconds < 2048:
        return max(microseconds, 0)
    microseconds = min(microseconds, HIGHEST_MICROSECONDS)
    exponent = microseconds.bit_length() - 11
    return (exponent << _DIVISION_BITS) + (microseconds >> exponent)


def lower_edge(bucket: int) -> int:
    """Give the smallest number of microseconds that falls into a bucket."""
    exponent = max((bucket >> _DIVISION_BITS) - 1, 0)
    return (bucket - (exponent << _DIVISION_BITS)) << exponent


def upper_edge(bucket: int) -> int:
    """Give the largest number of microseconds that falls into a bucket."""
    return lower_edge(bucket + 1) - 1


HIGHEST_BUCKET: Final = bucket_of_microseconds(HIGHEST_MICROSECONDS)


@dataclass(frozen=True)
class Histogram:
    """How long something took, over all the times it was measured: a count for each bucket that has one."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """How many were measured."""
        return sum(self.counts.values())

    @cached_property
    def mean(self) -> float:
        """The average in seconds, exact to the width of the buckets; 0 when nothing was measured."""
        total = sum((lower_edge(bucket) + upper_edge(bucket)) * count for bucket, count in self.counts.items())
        return total / 2e6 / self.count if self.count else 0.0

    @property
    def minimum(self) -> float:
        """The shortest in seconds; 0 when nothing was measured."""
        return lower_edge(self._ordered[0][0]) / 1e6 if self._ordered else 0.0

    @property
    def maximum(self) -> float:
        """The longest in seconds; 0 when nothing was measured."""
        return upper_edge(self._ordered[-1][0]) / 1e6 if self._ordered else 0.0

    def quantile(self, fraction: float) -> float:
        """Give the seconds that this fraction (0 to 1) needed at most (nearest rank); 0 when nothing was measured."""
        return next(self.quantiles([fraction]))

    def quantiles(self, fractions: Iterable[float]) -> Iterator[float]:
        """Give the quantiles of fractions that are in ascending order, in one pass."""
        buckets = iter(self._ordered)
        bucket = reached = 0
        for fraction in fractions:
            # Rounded, because 0.07 * 100 is a little over 7.
            rank = max(math.ceil(round(fraction * self.count, 6)), 1)
            while reached < rank and self.count:
                bucket, count = next(buckets)
                reached += count
            yield upper_edge(bucket) / 1e6 if self.count else 0.0

    def percentile_curve(self) -> tuple[tuple[float, float], ...]:
        """Give a point (fraction, seconds) for each bucket: the share of all that needed at most so long."""
        points = []
        reached = 0
        for bucket, count in self._ordered:
            reached += count
            points.append((reached / self.count, upper_edge(bucket) / 1e6))
        return tuple(points)

    def merged(self, other: "Histogram") -> "Histogram":
        """Count both together."""
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return Histogram(counts)

    @cached_property
    def _ordered(self) -> list[tuple[int, int]]:
        return sorted(self.counts.items())


def format_histogram(histogram: Histogram) -> str:
    """Write the counts as every HdrHistogram library reads them (V2, compressed, base64; values in microseconds)."""
    wire = HdrHistogram(LOWEST_MICROSECONDS, HIGHEST_MICROSECONDS, SIGNIFICANT_DIGITS)
    for bucket, count in histogram.counts.items():
        wire.record_value(lower_edge(bucket), count)
    encoded: bytes = wire.encode()
    return encoded.decode("ascii")


def parse_histogram(text: str) -> Histogram:
    """Read what `format_histogram` wrote.

    Raises:
        ValueError: not such a histogram, or one of another range or precision.
    """
    try:
        wire = HdrHistogram.decode(text.encode("ascii"))
    except (HdrCookieException, HdrLengthException, Base64Error, ZlibError, ValueError, IndexError) as error:
        raise ValueError(f"not an encoded HDR histogram: {error}") from error
    settings = (wire.lowest_trackable_value, wire.highest_trackable_value, wire.significant_figures)
    if settings != (LOWEST_MICROSECONDS, HIGHEST_MICROSECONDS, SIGNIFICANT_DIGITS):
        raise ValueError(f"an HDR histogram of {settings}, not of 1 µs to 1 h with three digits")
    return Histogram({bucket: count for bucket, count in enumerate(wire.counts) if count})
