# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands in a document: its blocks of ``sh``, in their order.

A block that cannot be run in a user's session has a comment before it that says where it is run::

    <!-- run by .ci/run -->
    ```sh
    make check
    ```

Blocks that boot machines are run by ``make soak`` only, and say so in the same way.
"""

import re
from dataclasses import dataclass
from pathlib import Path

IN_SOAK = "run by make soak"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<elsewhere>run [^\n]+) -->\n)?```sh\n(?P<commands>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True, slots=True)
class Block:
    """Commands as a reader would type them.

    Attributes:
        commands: What bash is given.
        elsewhere: Who runs them, if not the tests of documents; empty otherwise.
    """

    commands: str
    elsewhere: str


def blocks(document: Path) -> list[Block]:
    """The blocks of commands in a Markdown file."""
    text = document.read_text(encoding="utf-8")
    return [Block(match["commands"], match["elsewhere"] or "") for match in _BLOCK.finditer(text)]


def links(document: Path) -> list[str]:
    """The targets of a Markdown file's links to other files."""
    text = document.read_text(encoding="utf-8")
    targets = [match["target"] for match in _LINK.finditer(text)]
    return [target for target in targets if "://" not in target]
