# SPDX-License-Identifier: LGPL-2.1-or-later
"""The comparison as a picture: bars in SVG, which needs no library to draw or to show."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

from bench.cases.case import OURS
from bench.measure import Series
from bench.report import Report
from bench.rows import Row

_WIDTH, _MARGIN, _LABELS, _VALUES = 1120, 20, 520, 160
_BARS = _WIDTH - _LABELS - _VALUES - _MARGIN
"""How long the longest bar is."""
_BAR, _STEP = 16, 24
_LETTERS = 70
"""How many of a label have room."""
_LONGEST = 2.5
"""The part of a target at which bars end."""
_INK, _OWN, _OTHER, _MISSED = "#1f2328", "#1a7f37", "#9db2c9", "#cf222e"
_TITLES = {
    "big": "one layer of 750 MB, 46,000 entries: seconds from the registry to the disk",
    "layered": "20 layers, 850 MB: seconds from the registry to the disk",
    "fat": "one file of 4 GiB: seconds from the registry to the disk",
}


class _Canvas:
    """Shapes from top to bottom."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self.y = _MARGIN

    def heading(self, text: str) -> None:
        """A line of its own."""
        self.y += 26
        self._text(_MARGIN, self.y - 8, text, weight="600")

    def bar(self, label: str, share: float, colour: str, value: str) -> None:
        """A bar with its name before it and its value behind it.

        Args:
            label: The name.
            share: Of the space for bars, 0 to 1.
            colour: Of the bar.
            value: What it shows.
        """
        length = max(share, 0) * _BARS
        self._text(_LABELS - 8, self.y + 12, label, anchor="end")
        self._shapes.append(
            f'<rect x="{_LABELS}" y="{self.y}" width="{length:.1f}" height="{_BAR}" rx="2"'
            f' fill="{colour}"/>'
        )
        self._text(_LABELS + length + 6, self.y + 12, value)
        self.y += _STEP

    def mark(self, share: float, height: int) -> None:
        """A line across the bars that come next."""
        x = _LABELS + share * _BARS
        self._shapes.append(
            f'<line x1="{x:.1f}" y1="{self.y - 4}" x2="{x:.1f}" y2="{self.y + height}"'
            f' stroke="{_INK}" stroke-dasharray="3 3"/>'
        )

    def drawn(self) -> str:
        """The picture."""
        height = self.y + _MARGIN
        return "\n".join(
            [
                "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->",
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
                f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
                '<g font-family="sans-serif" font-size="12">',
                *self._shapes,
                "</g>",
                "</svg>\n",
            ]
        )

    def _text(
        self, x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400"
    ) -> None:
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}"'
            # The white edge keeps a line that crosses it from crossing it out.
            f' fill="{_INK}" stroke="#ffffff" stroke-width="4" paint-order="stroke">'
            f"{escape(text)}</text>"
        )


def chart(report: Report) -> str:
    """Draw the seconds of all contestants, then every ratio as a part of its target."""
    canvas = _Canvas()
    for case, title in _TITLES.items():
        if case in report and report[case].outcome.series:
            canvas.heading(f"{case}: {title}")
            _draw_seconds(canvas, report[case].outcome.series)
    canvas.heading("measured, relative to the target (dashed line)")
    for case, measured in report.items():
        if rows := [row for row in measured.outcome.rows if row.target is not None]:
            canvas.heading(case)
            _draw_targets(canvas, rows)
    return canvas.drawn()


def _draw_seconds(canvas: _Canvas, series: Mapping[str, Series]) -> None:
    longest = max(one.median for one in series.values())
    for name, one in series.items():
        colour = _OWN if name.startswith(OURS) else _OTHER
        spread = f"{one.median:.2f} s ({min(one.seconds):.2f} to {max(one.seconds):.2f})"
        canvas.bar(name, one.median / longest, colour, spread)


def _draw_targets(canvas: _Canvas, rows: list[Row]) -> None:
    canvas.mark(1 / _LONGEST, len(rows) * _STEP - 4)
    for row in rows:
        share = _share(row)
        text = f"{row.shown(row.measured)} of {row.shown(row.target)}"
        canvas.bar(_label(row), share / _LONGEST, _OWN if row.met else _MISSED, text)


def _share(row: Row) -> float:
    """Return which part of its target a row has, as far as the picture shows it."""
    if not row.target:
        return _LONGEST if row.measured else 0
    return min(row.measured / row.target, _LONGEST)


def _label(row: Row) -> str:
    against = row.against.replace("skopeo copy + ", "").replace("qemu-img convert", "convert")
    label = f"{row.what} / {against}" if against else row.what
    return label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}…"
