# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a terminal shows at which time, from the bytes that it got."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import pyte

from demo.recording.session import COLUMNS, ROWS, Printed

_SHORTEST = 0.06
"""Seconds that a frame is shown at least: more than 16 a second are not seen."""
_LONGEST = 1.5
"""Seconds after which waiting is cut."""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one line that look the same.

    Attributes:
        column: Of the first one, from 0.
        colour: A name of pyte's, or six hexadecimal digits; "default" for the terminal's own.
    """

    column: int
    text: str
    colour: str
    bold: bool


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What is shown from a time on.

    Attributes:
        at: In seconds; waiting is cut to 1.5 seconds.
        lines: From the top.
        cursor: Row and column, from 0.
    """

    at: float
    lines: tuple[Line, ...]
    cursor: tuple[int, int]


def frames(printed: Iterable[Printed]) -> list[Frame]:
    """The frames of a recording, without waiting."""
    made: list[Frame] = []
    now = before = 0.0
    for moment, screen in _screens(printed):
        now += min(moment - before, _LONGEST)
        before = moment
        frame = Frame(now, _lines(screen), (screen.cursor.y, screen.cursor.x))
        if made and now - made[-1].at < _SHORTEST:
            made[-1] = Frame(made[-1].at, frame.lines, frame.cursor)
        else:
            made.append(frame)
    return made


def _screens(printed: Iterable[Printed]) -> Iterator[tuple[float, pyte.Screen]]:
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    for one in printed:
        stream.feed(one.data)
        yield one.at, screen


def _lines(screen: pyte.Screen) -> tuple[Line, ...]:
    return tuple(tuple(_spans(screen, row)) for row in range(screen.lines))


def _spans(screen: pyte.Screen, row: int) -> Iterator[Span]:
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    column = 0
    for (colour, bold), same in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        text = "".join(cell.data for cell in same)
        if text.strip():
            yield Span(column, text.rstrip(), colour, bold)
        column += len(text)
