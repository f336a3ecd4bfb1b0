# SPDX-License-Identifier: LGPL-2.1-or-later
"""The texts that users read: in ASCII, with ASCII quotes, and in plain words."""

import ast
import functools
import re
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
TYPOGRAPHIC_QUOTES = "\u201c\u201d\u2018\u2019\u00ab\u00bb\u201e"


def repository_files(*patterns: str) -> list[Path]:
    """Files of the checkout that git tracks and that are texts.

    Args:
        patterns: As git has them; without one, all files.
    """
    listed = subprocess.run(
        ["git", "-C", CHECKOUT, "grep", "-I", "--name-only", "-z", "-e", "", "--", *patterns],
        check=True,
        capture_output=True,
        text=True,
    )
    return [CHECKOUT / name for name in listed.stdout.split("\0") if name]


@functools.cache
def literals() -> list[tuple[str, str]]:
    """Places and source texts of the strings of the product that are not docstrings."""
    found = []
    for path in repository_files("daemon/**.py", "examples/**.py"):
        source = path.read_text()
        nodes = list(ast.walk(ast.parse(source)))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docstrings
            ):
                place = f"{path.relative_to(CHECKOUT)}:{node.lineno}"
                found.append((place, ast.get_source_segment(source, node) or ""))
    return found


def test_no_file_has_typographic_quotes() -> None:
    wrong = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        # A translation has the quotes of its language.
        for path in repository_files(":!cockpit/po")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(quote in line for quote in TYPOGRAPHIC_QUOTES)
    ]
    assert wrong == []


def test_messages_are_ascii() -> None:
    assert [(place, text) for place, text in literals() if not text.isascii()] == []


AWKWARD = re.compile(
    r"\bmakes? no sense\b|\bdoes not do\b|\bcannot be told\b|\bmend(?:s|ed)?\b|\bsenseless\b"
    r"|\bha(?:s|ve) gone\b|\blikewise\b|\bstrangers?\b|\bwhoever\b|\bany more\b"
    r"|\blet(?:s|ting)? go\b|\b(?:is|are|be|was|were) told\b|\bto be had\b|\bstands? on\b"
    r"|'s leave\b|\bthose there are\b|\b(?:some|any)body\b|\bmet a defect\b|\bwould go\b"
    r"|\bbrings?\b|\bbelieves?\b|\bhears?\b|\bobeys?\b|\bcame into the pool\b|\btake another\b"
    r"|\bits life\b|\bin the life of\b|\bthe house\b|\bgoes on the bus\b|\bfor ever\b"
    r"|\bis no (?:\w+ )?(?:hostname|interval|path|file|disk|directory|reference|public key)\b"
    r"|\bwhat is there\b|\bwhat there is\b|\bwho (?:keeps|waits|asks|wants|needs)\b",
    re.IGNORECASE,
)
"""Wordings that readers found hard to understand, and metaphors. Say what happens instead."""


def test_messages_have_no_awkward_wording() -> None:
    assert [(place, text) for place, text in literals() if AWKWARD.search(text)] == []


def test_documents_have_no_awkward_wording() -> None:
    documents = repository_files(
        *("README.md", "NEWS", "CONTRIBUTING.md", "docs/*.md", "docs/release-notes/*.md"),
        *("dbus/*.xml", "packaging/man/*", "packaging/polkit/*", "systemd/*", "systemd/user/*"),
        "daemon/**README.md",
    )
    around = []
    for path in documents:
        # A phrase can go over the end of a line.
        text = " ".join(path.read_text().split())
        around += [
            (str(path.relative_to(CHECKOUT)), text[max(0, found.start() - 40) : found.end() + 40])
            for found in AWKWARD.finditer(text)
        ]
    assert around == []
