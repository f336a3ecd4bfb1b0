# SPDX-License-Identifier: LGPL-2.1-or-later
"""Prints rows of documented keys as a table, as JSON or by a template, and filters them.

A template is podman's (Go's text/template) reduced to keys: ``{{.name}} {{.pool}}``.
"""

import fnmatch
import json
import re
from argparse import ArgumentTypeError, Namespace
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from virtlayer.client.output import print_json, print_line, print_table
from virtlayer.client.parser import Parser
from virtlayer.printable import printable

type Row = Mapping[str, Any]

_FIELD = re.compile(r"\{\{\s*\.?([A-Za-z_]*)\s*\}\}")


def _text(value: object) -> str:
    """A value of JSON in a template or filter."""
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(one, str) for one in value):
            return ",".join(value)
        case _:
            return json.dumps(value)


def _cell(value: object) -> str:
    return _text(value) or "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A key of a listing.

    Attributes:
        key: One of ``virtlayer.client.keys``.
        heading: The heading in a table; "" for a key that tables have only on request.
        shown: Converts a value to a cell.
        wraps: Whether its cells are wrapped where the terminal is narrow.
    """

    key: str
    heading: str = ""
    shown: Callable[[Any], str] = _cell
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The listing of a command.

    Attributes:
        what: The name of the rows, for the line that is printed if there are none.
        columns: The keys; those with headings in the order of the table.
        identifier: The key that ``--quiet`` prints.
    """

    what: str
    columns: tuple[Column, ...]
    identifier: str


@dataclass(frozen=True, slots=True)
class Template:
    """The format of a row: JSON if both are empty.

    Attributes:
        parts: The parts of a line: texts, and columns whose values are printed.
        table: The columns of a table.
    """

    parts: tuple[str | Column, ...] = ()
    table: tuple[Column, ...] = ()


def add_listing(command: Parser, listing: Listing) -> None:
    """Add the options of a listing to a command."""
    example = f"{{{{.{listing.identifier}}}}}"
    command.set_defaults(listing=listing)
    command.keys = tuple(column.key for column in listing.columns)
    command.epilog = f"keys: {', '.join(command.keys)}"
    command.add_argument(
        "-q", "--quiet", action="store_true", help=f"print only the key {listing.identifier}"
    )
    command.add_argument(
        "--format",
        dest="template",
        type=lambda text: _template(listing, text),
        metavar="json|TEMPLATE",
        help=f"print JSON, or each row by a template of keys, such as '{example}'; a template that "
        "begins with the word table prints a table",
    )
    command.add_argument(
        "--filter",
        dest="filters",
        action="append",
        default=[],
        type=lambda text: _filter(listing, text),
        metavar="KEY=PATTERN",
        help="list only rows whose value matches the shell pattern; can be repeated: one of the "
        "patterns of each key must match",
    )
    command.add_argument(
        "--no-legend", "--noheading", action="store_true", help="print no headings"
    )


def print_listing(arguments: Namespace, rows: Sequence[Row]) -> Sequence[Row]:
    """Print rows in the format that the arguments specify.

    Returns:
        The rows of a table, for notes below it; none for other formats.
    """
    listing: Listing = arguments.listing
    template: Template = arguments.template or Template(table=_default_columns(listing))
    kept = [row for row in rows if _matches(row, arguments.filters)]
    if arguments.quiet:
        for row in kept:
            print_line(_text(row[listing.identifier]))
    elif template.parts:
        for row in kept:
            print("".join(_filled(part, row) for part in template.parts))
    elif arguments.json or not template.table:
        print_json(kept)
    else:
        _print_columns(listing, template.table, kept, legend=not arguments.no_legend)
        return kept
    return []


def _print_columns(
    listing: Listing, columns: Sequence[Column], rows: Sequence[Row], *, legend: bool
) -> None:
    if not rows:
        if legend:
            print_line(f"No {listing.what}.")
        return
    print_table(
        [column.heading or column.key.replace("_", " ").upper() for column in columns]
        if legend
        else None,
        [[column.shown(row[column.key]) for column in columns] for row in rows],
        wrapped=[index for index, column in enumerate(columns) if column.wraps],
    )


def _default_columns(listing: Listing) -> tuple[Column, ...]:
    return tuple(column for column in listing.columns if column.heading)


def _template(listing: Listing, text: str) -> Template:
    if text == "json":
        return Template()
    texts_and_names = _FIELD.split(text)
    if len(texts_and_names) == 1:
        raise ArgumentTypeError(f'"{text}" is not json or a template such as {{{{.name}}}}.')
    columns = [_column(listing, name) for name in texts_and_names[1::2]]
    if text.split()[0] == "table":
        return Template(table=tuple(columns))
    texts = [_unescaped(part) for part in texts_and_names[::2]]
    pairs = zip_longest(texts, columns)
    return Template(parts=tuple(part for pair in pairs for part in pair if part is not None))


def _unescaped(text: str) -> str:
    return text.replace(r"\t", "\t").replace(r"\n", "\n")


def _filled(part: str | Column, row: Row) -> str:
    return part if isinstance(part, str) else printable(_text(row[part.key]))


def _matches(row: Row, filters: Sequence[tuple[str, str]]) -> bool:
    patterns: dict[str, list[str]] = defaultdict(list)
    for key, pattern in filters:
        patterns[key].append(pattern)
    return all(
        any(fnmatch.fnmatchcase(_text(row[key]), pattern) for pattern in alternatives)
        for key, alternatives in patterns.items()
    )


def _filter(listing: Listing, text: str) -> tuple[str, str]:
    name, equals, pattern = text.partition("=")
    if not equals:
        raise ArgumentTypeError(f'"{text}" is not of the form KEY=PATTERN.')
    return _column(listing, name).key, pattern


def _column(listing: Listing, name: str) -> Column:
    for column in listing.columns:
        if _folded(column.key) == _folded(name):
            return column
    keys = ", ".join(column.key for column in listing.columns)
    raise ArgumentTypeError(f'Unknown key "{name}". Keys: {keys}.')


def _folded(key: str) -> str:
    """Return a key as podman's templates may spell it: PulledAt."""
    return key.replace("_", "").lower()
