"""The rows of the budgets table, and how they are printed."""

from dataclasses import dataclass
from typing import Final

from bench.spread import Spread

HEADER: Final = ("what", "value", "compared with", "ratio", "at most", "aim", "verdict")


@dataclass(frozen=True, slots=True)
class Row:
    """One budget and what was measured.

    Attributes:
        name: what was measured.
        value: hublet's figure, in `unit`.
        reference: what it is divided by, None when the budget is on the value itself or the reference is missing.
        reference_name: what the reference is, or why there is none.
        ratio: value ÷ reference round by round.
        at_most, aim: the budget, on the ratio, or on the value when `absolute`.
    """

    name: str
    value: Spread
    unit: str
    at_most: float
    aim: float
    reference: Spread | None = None
    reference_name: str = ""
    ratio: Spread | None = None
    absolute: bool = False

    @classmethod
    def of_ratio(
        cls,
        name: str,
        unit: str,
        values: list[float],
        references: list[float],
        reference_name: str,
        *,
        at_most: float,
        aim: float,
    ) -> "Row":
        """Make a row whose budget is on value ÷ reference; without references there is no ratio and no verdict."""
        if not references:
            return cls(name, Spread.of(values), unit, at_most, aim, reference_name=reference_name)
        ratio = Spread.of_ratios(values, references)
        return cls(name, Spread.of(values), unit, at_most, aim, Spread.of(references), reference_name, ratio=ratio)

    @classmethod
    def of_value(
        cls, name: str, unit: str, values: list[float], *, at_most: float, aim: float, reference_name: str = ""
    ) -> "Row":
        """Make a row whose budget is on the value itself."""
        return cls(name, Spread.of(values), unit, at_most, aim, reference_name=reference_name, absolute=True)

    @property
    def verdict(self) -> str:
        """Hold the median against the budget."""
        judged = self.value if self.absolute else self.ratio
        if judged is None:
            return "not compared"
        if judged.median <= self.aim:
            return "aim met"
        return "within" if judged.median <= self.at_most else "OVER"

    def cells(self) -> tuple[str, ...]:
        """Write the row's cells in the order of `HEADER`."""
        unit = self.unit if self.absolute else "×"
        compared = f"{self.reference.text()} {self.unit}, " if self.reference else ""
        return (
            self.name,
            f"{self.value.text()} {self.unit}",
            f"{compared}{self.reference_name}" or "–",
            self.ratio.text() if self.ratio else "–",
            f"{self.at_most:g} {unit}",
            f"{self.aim:g} {unit}",
            self.verdict,
        )


def format_table(rows: list[Row]) -> str:
    """Write rows as a Markdown table that is readable as it is."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    written = [_line(line, widths) for line in lines]
    return "\n".join([written[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *written[1:]])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
