# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints tables, fields and lines for users, or one JSON document for programs."""

import io
import json
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from typing import TextIO

from virtlayer.client.parser import UsageError
from virtlayer.client.tables import table_lines
from virtlayer.errors import InvalidArgument, VirtlayerError
from virtlayer.printable import printable


def show_any_text() -> None:
    """Escape characters that the locale's encoding does not have, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(document: object) -> None:
    """Print a JSON document, on lines of its own."""
    print(_json(document, sys.stdout, indent=2))


def print_xml(text: str) -> None:
    """Print XML; a reference stands for what a terminal would interpret, and means the same.

    XML allows the control characters from U+0080 to U+009F, and changes of the direction of text.
    """
    print(
        "".join(
            character if character.isprintable() or character == "\n" else f"&#{ord(character)};"
            for character in text
        )
    )


def print_json_line(text: str) -> None:
    """Print a line of JSON that another program has written."""
    print(_escaped_text(text))


def print_table(
    headings: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    *,
    wrapped: Collection[int] = (),
) -> None:
    """Print a table: fitted to a terminal, whole elsewhere.

    Args:
        headings: The headings of the columns; None for a table without headings.
        rows: The cells.
        wrapped: The columns that are wrapped on a terminal that is too narrow.
    """
    safe_rows = [[printable(cell) for cell in row] for row in rows]
    on_terminal = sys.stdout.isatty()
    lines = table_lines(
        [headings, *safe_rows] if headings else safe_rows,
        width=shutil.get_terminal_size().columns if on_terminal else None,
        wrapped=wrapped,
    )
    for number, line in enumerate(lines):
        is_bold = headings and number == 0 and on_terminal and _has_styles()
        print(f"\x1b[1m{line}\x1b[0m" if is_bold else line)


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
        _print_error_object(error.name, error.message)
    else:
        print(f"virtlayer: {error.message}", file=sys.stderr)


def print_warning(message: str) -> None:
    """Print a warning on standard error."""
    print(f"virtlayer: warning: {printable(message)}", file=sys.stderr)


def print_usage_error(error: UsageError, *, as_json: bool) -> None:
    """Print an error of the command line on standard error: two lines, or a line of JSON."""
    message = printable(error.message)
    if as_json:
        _print_error_object(InvalidArgument.__name__, message)
        return
    print(f"virtlayer: {message}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)


def _print_error_object(name: str, message: str) -> None:
    document = {"error": name, "message": message}
    print(_json(document, sys.stderr), file=sys.stderr)


def _json(document: object, stream: TextIO, *, indent: int | None = None) -> str:
    """JSON with everything escaped that a terminal would interpret.

    JSON itself allows DEL, the control characters from U+0080 to U+009F, and changes of the
    direction of text in its strings, and a config of an image can have them.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=_is_ascii(stream))
    return _escaped_text(text)


def _escaped_text(text: str) -> str:
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else json.dumps(character)[1:-1]


def _is_ascii(stream: TextIO) -> bool:
    """Return whether JSON must escape characters beyond ASCII: our escapes are not valid JSON."""
    return stream.encoding.lower().replace("-", "") != "utf8"


def _has_styles() -> bool:
    """Return whether the terminal shows bold letters, and the user allows them (no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {None, "", "dumb"}
