# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frames of a terminal as an SVG that plays by itself, and starts again at its end.

Each distinct line is in the file once. A strip of all frames, one above the other, is moved in
steps, by an animation of CSS: browsers play it in an ``<img>`` too, where scripts do not run.
"""

from xml.sax.saxutils import escape

from demo.recording.frames import Frame, Line
from demo.recording.session import COLUMNS, ROWS

_CELL, _LINE, _EDGE = 8.4, 18, 16
"""The width of a character, the height of a line, and the edge around them, in pixels."""
_FONTS = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace"
_LAST = 4.0
"""Seconds that the last frame is shown."""
_COLOURS = {
    "default": "#d4d4d4",
    "black": "#7f7f7f",
    "red": "#f47067",
    "green": "#8ddb8c",
    "brown": "#f1c56c",
    "blue": "#6cb6ff",
    "magenta": "#dcbdfb",
    "cyan": "#76e3ea",
    "white": "#ffffff",
}


def animation(frames: list[Frame], title: str) -> str:
    """The text of the SVG.

    Args:
        frames: At least one.
        title: What it shows, for those who do not see it.
    """
    width, height = COLUMNS * _CELL + 2 * _EDGE, ROWS * _LINE + 2 * _EDGE
    length = frames[-1].at + _LAST
    numbers: dict[Line, int] = {}
    strip = [_frame(frame, number * height, numbers) for number, frame in enumerate(frames)]
    steps = [
        f"{frame.at / length:.4%}{{transform:translateY({-number * height:g}px)}}"
        for number, frame in enumerate(frames)
    ]
    size = f'viewBox="0 0 {width:g} {height:g}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(title)}</title>",
            "<style>",
            f"text{{font:14px {_FONTS};white-space:pre;fill:{_COLOURS['default']}}}",
            f".b{{font-weight:bold}}.c{{fill:{_COLOURS['default']};opacity:.6}}",
            # Where nothing moves, in print or as the reader wants it, the last frame is shown.
            f".strip{{transform:translateY({-(len(frames) - 1) * height:g}px)}}",
            "@media(prefers-reduced-motion:no-preference){",
            f".strip{{animation:play {length:.2f}s step-end infinite}}}}",
            f"@keyframes play{{{''.join(steps)}}}",
            "</style>",
            f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#1e1e1e"/>',
            "<defs>",
            *(_definition(line, number) for line, number in numbers.items()),
            "</defs>",
            '<g class="strip">',
            *strip,
            "</g>",
            "</svg>",
            "",
        ]
    )


def _frame(frame: Frame, top: float, numbers: dict[Line, int]) -> str:
    uses = [
        f'<use href="#l{numbers.setdefault(line, len(numbers))}"'
        f' y="{top + _EDGE + row * _LINE:g}"/>'
        for row, line in enumerate(frame.lines)
        if line
    ]
    row, column = frame.cursor
    left, upper = _EDGE + column * _CELL, top + _EDGE + row * _LINE
    uses.append(
        f'<rect class="c" x="{left:.1f}" y="{upper + 2:g}" width="{_CELL}" height="{_LINE - 2}"/>'
    )
    return "".join(uses)


def _definition(line: Line, number: int) -> str:
    spans = "".join(
        f'<tspan x="{_EDGE + span.column * _CELL:.1f}" textLength="{len(span.text) * _CELL:.1f}"'
        f"{_looks(span.colour, bold=span.bold)}>{escape(span.text)}</tspan>"
        for span in line
    )
    return f'<text id="l{number}" y="{_LINE - 4}">{spans}</text>'


def _looks(colour: str, *, bold: bool) -> str:
    fill = _COLOURS.get(colour.removeprefix("bright"), f"#{colour}")
    written = "" if colour == "default" else f' fill="{fill}" style="fill:{fill}"'
    return written + (' class="b"' if bold else "")
