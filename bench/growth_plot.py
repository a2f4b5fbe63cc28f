"""Draws how costs grow, as an SVG file without anything outside it: small, sharp, and readable on dark and light."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Final

from bench.growth_figures import Growth
from bench.spread import Spread

WIDTH, HEIGHT = 760, 300
PANEL_WIDTH, PANEL_HEIGHT, TOP, GAP, LEFT = 310, 190, 52, 70, 52
COLORS: Final = {"hublet": "#2563eb", "simulator": "#d97706"}
STYLE: Final = """\
text { font: 12px system-ui, sans-serif; fill: #1f2937 }
.title { font-weight: 600; font-size: 13px }
.grid { stroke: #d1d5db; stroke-width: 1 }
.axis { stroke: #6b7280; stroke-width: 1 }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: x is logarithmic, y begins at 0."""

    left: float
    title: str
    sizes: Sequence[int]
    top_value: float

    def x(self, size: float) -> float:
        """Place a number of devices."""
        first, last = log10(self.sizes[0]), log10(self.sizes[-1])
        return self.left + (log10(size) - first) / (last - first or 1) * PANEL_WIDTH

    def y(self, value: float) -> float:
        """Place a cost."""
        return TOP + PANEL_HEIGHT * (1 - value / self.top_value)


def draw(measured: Sequence[Growth]) -> str:
    """Give the SVG document: CPU per device onboarded on the left, per message on the right."""
    left = _panel(LEFT, "CPU per device onboarded, ms", measured, lambda each: each.onboarding, 1_000)
    right = _panel(LEFT + PANEL_WIDTH + GAP, "CPU per QoS 1 message, µs", measured, lambda each: each.message, 1)
    legend = "".join(
        f'<rect x="{LEFT + 110 * number}" y="9" width="14" height="4" fill="{color}"/>'
        f'<text x="{LEFT + 20 + 110 * number}" y="15">{name}</text>'
        for number, (name, color) in enumerate(COLORS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
        f'<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{legend}\n{left}\n{right}\n</svg>\n"
    )


def _panel(
    left: float,
    title: str,
    measured: Sequence[Growth],
    cost: Callable[[Growth], object],
    divisor: float,
) -> str:
    sizes = [each.connected for each in measured]
    series = {name: [_scaled(getattr(cost(each), name), divisor) for each in measured] for name in COLORS}
    highest = max(high for points in series.values() for _, _, high in points)
    step = _step(highest)
    panel = Panel(left, title, sizes, step * ceil(highest / step))
    parts = [f'<text class="title" x="{left}" y="{TOP - 14}">{title}</text>', *_axes(panel, step)]
    for name, points in series.items():
        parts += _line(panel, COLORS[name], points)
    return "\n".join(parts)


def _scaled(spread: "Spread", divisor: float) -> tuple[float, float, float]:
    return spread.low / divisor, spread.median / divisor, spread.high / divisor


def _step(highest: float) -> float:
    """Choose 1, 2 or 5 times a power of ten, so that there are three to seven lines."""
    power = 10.0 ** int(log10(highest)) if highest >= 1 else 0.1
    return next(step for step in (power / 5, power / 2, power, power * 2, power * 5) if highest / step <= 6)


def _axes(panel: Panel, step: float) -> list[str]:
    right, bottom = panel.left + PANEL_WIDTH, TOP + PANEL_HEIGHT
    parts = []
    for number in range(round(panel.top_value / step) + 1):
        y = panel.y(number * step)
        parts.append(f'<line class="grid" x1="{panel.left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{panel.left - 8}" y="{y + 4:.1f}" text-anchor="end">{number * step:g}</text>')
    for size in panel.sizes:
        x = panel.x(size)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(size)}</text>')
    middle = panel.left + PANEL_WIDTH / 2
    parts.append(f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">connected devices</text>')
    return parts


def _line(panel: Panel, color: str, points: Sequence[tuple[float, float, float]]) -> list[str]:
    placed = [
        (panel.x(size), *(panel.y(each) for each in point)) for size, point in zip(panel.sizes, points, strict=True)
    ]
    path = " ".join(f"{x:.1f},{median:.1f}" for x, _, median, _ in placed)
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>']
    for x, low, median, high in placed:
        parts.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{color}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{median:.1f}" r="3" fill="{color}"/>')
    return parts


def _short(size: int) -> str:
    return f"{size / 1_000:g}k" if size >= 1_000 else str(size)
