# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a contestant leaves when it is done: a time, a size, and a tree to look at."""

import contextlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.inputs import Image


@dataclass(frozen=True, slots=True)
class Finished:
    """One run, as long as its outputs exist.

    Attributes:
        seconds: From the start to the result on disk.
        size: Bytes of the result on disk.
        tree: Shows the result as a directory; None for a contestant that makes no tree.
        parts: Further figures by name: seconds of parts, bytes of memory.
        ignoring: Paths that the contestant gives other metadata than the image, always.
        further: Results of other images in the same run, whose trees are looked at as well.
    """

    seconds: float
    size: int
    tree: Callable[[], AbstractContextManager[Path]] | None
    parts: Mapping[str, float] = field(default_factory=dict)
    ignoring: tuple[bytes, ...] = ()
    further: tuple[tuple[Image, "Finished"], ...] = ()


type Contestant = Callable[[Image, Path], AbstractContextManager[Finished]]
"""Does the work on an image in an empty directory of its own; afterwards all is cleaned up."""


def at(directory: Path) -> Callable[[], AbstractContextManager[Path]]:
    """A tree that simply is a directory."""
    return lambda: contextlib.nullcontext(directory)


def finished_with(seconds: Sequence[float], **parts: Sequence[float]) -> Finished:
    """The medians of several times and parts, without an output to compare."""
    medians = {name: statistics.median(values) for name, values in parts.items()}
    return Finished(statistics.median(seconds), 0, None, medians)
