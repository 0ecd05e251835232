"""Small line charts as SVG, both axes logarithmic: what grows like its cause is a slope of one.

No measuring here; a library for charts would be a dependency larger than all of the benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import msgspec

WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 110, 34, 42
_COLOURS = ("#1b6ca8", "#c4442c", "#2e8b57", "#8a5cb0", "#b8860b", "#444444")


class Series(msgspec.Struct, frozen=True):
    """One line: its name and its points, all above zero."""

    name: str
    points: Sequence[tuple[float, float]]


class Panel(msgspec.Struct, frozen=True):
    """One chart."""

    title: str
    across: str
    series: Sequence[Series]


def svg(panels: Sequence[Panel], columns: int = 2) -> str:
    """All panels in a grid, as one picture."""
    rows = math.ceil(len(panels) / columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * WIDTH}" '
        f'height="{rows * HEIGHT}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * WIDTH, number // columns * HEIGHT
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> list[str]:
    points = [point for one in panel.series for point in one.points]
    across = _Axis([x for x, _ in points], _LEFT, WIDTH - _RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - _BOTTOM, _TOP, whole=True)
    parts = [_text(_LEFT, 18, panel.title, size=13)]
    for value in up.ticks:
        y = up.place(value)
        parts.append(_line(_LEFT, y, WIDTH - _RIGHT, y, "#dddddd"))
        parts.append(_text(_LEFT - 6, y + 4, _number(value), anchor="end"))
    for value in sorted({x for x, _ in points}):
        x = across.place(value)
        parts.append(_line(x, _TOP, x, HEIGHT - _BOTTOM, "#eeeeee"))
        parts.append(_text(x, HEIGHT - _BOTTOM + 16, _number(value), anchor="middle"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 8, panel.across, anchor="middle"))
    ends = []
    for colour, one in zip(_COLOURS, panel.series, strict=False):
        places = [(across.place(x), up.place(y)) for x, y in sorted(one.points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        ends.append((places[-1][1], one.name, colour))
    return parts + _names(ends)


def _names(ends: list[tuple[float, str, str]]) -> list[str]:
    """The names beside the ends of their lines, moved apart where these are close."""
    parts, lowest = [], 0.0
    for y, name, colour in sorted(ends):
        lowest = max(y + 4, lowest + 13)
        parts.append(_text(WIDTH - _RIGHT + 8, lowest, name, colour=colour))
    return parts


class _Axis:
    """Places of values between two ends."""

    def __init__(
        self, values: Sequence[float], start: float, end: float, *, whole: bool = False
    ) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        if whole:
            low, high = math.floor(low), math.ceil(high)
        self._low, self._high = low, high if high > low else low + 1
        self._start, self._end = start, end

    @property
    def ticks(self) -> list[float]:
        """Powers of ten."""
        return [10.0**power for power in range(math.ceil(self._low), math.floor(self._high) + 1)]

    def place(self, value: float) -> float:
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, colour: str = "#222222"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
