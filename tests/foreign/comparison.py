# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares how two tools unpack an archive or an image."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.trees import Node, TreeContent, differences


@dataclass(frozen=True, slots=True)
class Refusal:
    """The archive or image was refused."""

    message: str


type Outcome = TreeContent | Refusal


@dataclass(frozen=True, slots=True)
class Check:
    """One archive or image, with one other tool.

    Attributes:
        name: Of the archive or image.
        tool: Of the tool.
        differences: What differs, a line each; none where both made the same of it.
        refused: Whether virtlayer does not take it.
    """

    name: str
    tool: str
    differences: tuple[str, ...]
    refused: bool


def compared(name: str, tool: str, ours: Outcome, theirs: Outcome) -> Check:
    """Compare two outcomes. Two refusals are equal: their messages are not compared."""
    return Check(name, tool, tuple(_lines(ours, theirs)), refused=isinstance(ours, Refusal))


def _lines(ours: Outcome, theirs: Outcome) -> list[str]:
    if isinstance(ours, Refusal) and isinstance(theirs, Refusal):
        return []
    if isinstance(ours, Refusal):
        return [f"refused by virtlayer alone: {ours.message}"]
    if isinstance(theirs, Refusal):
        return [f"refused by the other alone: {theirs.message}"]
    return differences(_below_the_root(ours), _below_the_root(theirs))


def _below_the_root(tree: TreeContent) -> Mapping[bytes, Node]:
    """Without the root: of an archive that does not name it, every tool makes what it likes."""
    return {path: node for path, node in tree.items() if path}
