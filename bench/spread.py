"""A figure measured several times: its median, and how far the rounds lie apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, smallest and largest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Summarise at least one round."""
        rounds = sorted(values)
        return cls(median(rounds), rounds[0], rounds[-1])

    @classmethod
    def of_ratios(cls, values: Iterable[float], references: Iterable[float]) -> Self:
        """Summarise value ÷ reference, each of the same round."""
        return cls.of(value / reference for value, reference in zip(values, references, strict=True))

    def text(self) -> str:
        """Write the median and, in parentheses, the smallest and largest round."""
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"
