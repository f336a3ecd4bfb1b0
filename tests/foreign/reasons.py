# SPDX-License-Identifier: LGPL-2.1-or-later
"""Why virtlayer and another tool differ: the table in docs/layers.md."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.foreign.comparison import Check

_PAGE = Path(__file__).parents[2] / "docs/layers.md"
_HEADING = "\n## Archives and images of others\n"
_ROW = re.compile(r"^\| (?P<names>`.*`) \| (?P<tools>[^|`]+) \| (?P<why>[^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why archives or images differ.

    Attributes:
        pattern: Which ones, as for a shell.
        tool: With which tool.
        why: A sentence or less.
    """

    pattern: str
    tool: str
    why: str

    def explains(self, check: Check) -> bool:
        """Whether it is about that check."""
        return check.tool == self.tool and fnmatchcase(check.name, self.pattern)


def reasons() -> list[Reason]:
    """All of them, one for each pattern and tool."""
    section = _PAGE.read_text().split(_HEADING)[1].split("\n## ")[0]
    return [
        Reason(pattern, tool.strip(), row["why"])
        for row in _ROW.finditer(section)
        for pattern in re.findall(r"`([^`]+)`", row["names"])
        for tool in row["tools"].split(",")
    ]


def unexplained(checks: Iterable[Check], known: Iterable[Reason]) -> list[Check]:
    """The differences that have no reason."""
    given = list(known)
    return [
        check
        for check in checks
        if check.differences and not any(reason.explains(check) for reason in given)
    ]


def unneeded(known: Iterable[Reason], checks: Iterable[Check]) -> list[Reason]:
    """The reasons that have no difference."""
    differing = [check for check in checks if check.differences]
    return [reason for reason in known if not any(map(reason.explains, differing))]
