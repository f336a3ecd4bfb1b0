# SPDX-License-Identifier: LGPL-2.1-or-later
"""Listings: tables, templates, filters, and the keys that they document."""

import json
from argparse import Namespace
from typing import Any

import pytest

from virtlayer.client.arguments import build_parser
from virtlayer.client.keys import KEYS
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.main import main
from virtlayer.client.parser import Parser, UsageError
from virtlayer.client.tables import table_lines

LISTING = Listing(
    "things",
    (
        Column("name", "NAME", wraps=True),
        Column("virtual_size", "SIZE", lambda size: f"{size} B"),
        Column("layers"),
        Column("foreign"),
        Column("error"),
    ),
    identifier="name",
)
ROWS = [
    {"name": "a", "virtual_size": 1, "layers": ["x", "y"], "foreign": True, "error": None},
    {"name": "b:1", "virtual_size": 20, "layers": [], "foreign": False, "error": "InUse"},
]


def parsed(*words: str) -> Namespace:
    parser = Parser(prog="virtlayer")
    parser.add_argument("--json", action="store_true")
    add_listing(parser, LISTING)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "NAME  SIZE\na     1 B\nb:1   20 B\n"),
        (["--no-legend"], "a    1 B\nb:1  20 B\n"),
        (["--quiet"], "a\nb:1\n"),
        (["-q", "--filter", "name=b*"], "b:1\n"),
        (["--format", "{{.name}}"], "a\nb:1\n"),
        (["--format", "{{ .name }}"], "a\nb:1\n"),
        (["--format", "{{.Name}}={{.VirtualSize}}"], "a=1\nb:1=20\n"),
        (["--format", r"{{.name}}\t{{.error}}"], "a\t\nb:1\tInUse\n"),
        (["--format", "{{.layers}} {{.foreign}}"], "x,y true\n false\n"),
        (["--format", "table {{.name}} {{.virtual_size}}"], "NAME  SIZE\na     1 B\nb:1   20 B\n"),
        (["--format", "table {{.error}}", "--filter", "error=?*"], "ERROR\nInUse\n"),
        (["-q", "--filter", "foreign=true"], "a\n"),
        (["-q", "--filter", "name=a", "--filter", "name=b:1"], "a\nb:1\n"),
        (["-q", "--filter", "name=a", "--filter", "error=InUse"], ""),
        (["--filter", "name=c"], "No things.\n"),
        (["--filter", "name=c", "--no-legend"], ""),
    ],
)
def test_a_listing_is_printed_as_wanted(
    capsys: pytest.CaptureFixture[str], words: list[str], printed: str
) -> None:
    print_listing(parsed(*words), ROWS)
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"], ["--format=json"]])
def test_json_has_every_key(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    print_listing(parsed(*words), ROWS)
    assert json.loads(capsys.readouterr().out) == ROWS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "{{.nam}}"], 'Unknown key "nam". Keys: name, virtual_size, layers'),
        (["--format", "xml"], '"xml" is not json or a template such as {{.name}}.'),
        (["--format", ""], '"" is not json or a template such as {{.name}}.'),
        (["--filter", "nam=a"], 'Unknown key "nam".'),
        (["--filter", "name"], '"name" is not of the form KEY=PATTERN.'),
    ],
)
def test_an_invalid_template_or_filter_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(*words)
    assert message in refused.value.message


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["-q"], ["--format", "{{.name}}"], []):
        print_listing(parsed(*words), [ROWS[0] | {"name": "\x1b[31m\n"}])
    assert capsys.readouterr().out.count(r"\x1b[31m\x0a") == 3


def test_a_table_that_fits_is_not_wrapped() -> None:
    assert table_lines([["A", "B"], ["1", "2"]], width=4, wrapped=(1,)) == ["A  B", "1  2"]


def test_a_narrow_table_is_wrapped_and_nothing_is_cut() -> None:
    rows = [["A", "TEXT", "DATE"], ["1", "one two three four", "2026-11-25 19:00"]]
    assert table_lines(rows, width=33, wrapped=(1,)) == [
        "A  TEXT          DATE",
        "1  one two       2026-11-25 19:00",
        "   three four",
    ]


def test_a_word_longer_than_its_column_is_continued() -> None:
    rows = [["x" * 25, "date"]]
    assert table_lines(rows, width=16, wrapped=(0,)) == [
        "xxxxxxxxxx  date",
        "xxxxxxxxxx",
        "xxxxx",
    ]


def test_a_table_is_wider_than_the_terminal_rather_than_cut() -> None:
    rows = [["a very long name of something", "2026-11-25 19:00"]]
    assert table_lines(rows, width=5, wrapped=(0,)) == [
        "a very      2026-11-25 19:00",
        "long name",
        "of",
        "something",
    ]


def commands_with_keys() -> list[tuple[str, tuple[str, ...]]]:
    """Every command with the keys that it says it prints, also those below another command."""
    found = []

    def collect(parser: Parser) -> None:
        for action in parser._actions:
            choices: Any = action.choices
            if isinstance(choices, dict):
                for one in choices.values():
                    found.append((one.prog, one.keys))
                    collect(one)

    collect(build_parser())
    return found


@pytest.mark.parametrize(("command", "keys"), commands_with_keys())
def test_the_keys_of_commands_are_documented(command: str, keys: tuple[str, ...]) -> None:
    assert set(keys) <= set(KEYS), command
    assert all(key.isascii() and key.islower() and "-" not in key for key in keys)


def test_no_key_is_documented_that_no_command_prints() -> None:
    in_progress = {"progress", "stage", "bytes_done", "bytes_total"}
    printed = {key for _, keys in commands_with_keys() for key in keys}
    assert set(KEYS) == printed | in_progress | {"images"}


def test_listings_are_documented_by_their_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["images", "--help"])
    assert "--format json|TEMPLATE" in capsys.readouterr().out
