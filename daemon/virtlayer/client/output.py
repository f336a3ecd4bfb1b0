# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is printed: tables, fields and lines for people, one JSON document for programs."""

import json
import sys
from collections.abc import Sequence

from virtlayer.errors import VirtlayerError
from virtlayer.printable import printable


def print_json(document: object) -> None:
    """Print a JSON document, on lines of its own."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: fitted to a terminal, whole elsewhere."""
    safe_rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(columns, safe_rows)
        return
    lines = [list(columns), *safe_rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and values, a line each, the values below one another."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        print(f"{name + ':' if name else '':>{width + 1}} {printable(value)}")


def print_line(text: str) -> None:
    """Print a line."""
    print(printable(text))


def print_error(error: VirtlayerError, *, as_json: bool) -> None:
    """Print an error on standard error: a line for people, or a line of JSON."""
    if as_json:
        print(json.dumps({"error": error.name, "message": error.message}), file=sys.stderr)
    else:
        print(f"virtlayer: {error.message}", file=sys.stderr)


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    print(f"virtlayer: warning: {printable(message)}", file=sys.stderr)


def _print_fitted(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # rich takes a tenth of a second to import, which only a table on a terminal is worth.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell, overflow="ellipsis", no_wrap=True) for cell in row))
    Console().print(table)
