# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tables of plain text. On a narrow terminal, cells are wrapped, never cut."""

import textwrap
from collections.abc import Collection, Sequence
from itertools import zip_longest

_GAP = "  "
_NARROWEST = 10
"""A column is not made narrower than this, in characters."""


def table_lines(
    rows: Sequence[Sequence[str]], *, width: int | None = None, wrapped: Collection[int] = ()
) -> list[str]:
    """Return the lines of a table.

    Args:
        rows: The cells of each row.
        width: The width of the terminal, in characters; None for a table that is not wrapped.
        wrapped: The columns that may be wrapped. The table is wider than the terminal if that is
            not enough.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        widths = _fitted(widths, width - len(_GAP) * (len(widths) - 1), wrapped)
    return [line for row in rows for line in _row_lines(row, widths)]


def _fitted(widths: Sequence[int], available: int, wrapped: Collection[int]) -> list[int]:
    """Return the widths, with the widest of the wrapped columns narrowed until all fit."""
    fitted = list(widths)
    while sum(fitted) > available:
        widest = max(wrapped, key=fitted.__getitem__, default=None)
        if widest is None or fitted[widest] <= _NARROWEST:
            return fitted
        fitted[widest] -= 1
    return fitted


def _row_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [
        textwrap.wrap(cell, width, break_on_hyphens=False) if len(cell) > width else [cell]
        for cell, width in zip(row, widths, strict=True)
    ]
    return [
        _GAP.join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip()
        for line in zip_longest(*cells, fillvalue="")
    ]
