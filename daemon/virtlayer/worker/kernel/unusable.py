# SPDX-License-Identifier: LGPL-2.1-or-later
"""The error about a file that a machine cannot boot with."""

from __future__ import annotations

from virtlayer.worker.problems import quoted


class Unusable(Exception):
    """A file cannot be used.

    Args:
        problem: What is wrong, as the second half of a sentence about the image or the host.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Incomplete(Unusable):
    """A kernel lacks a part without which our initrd cannot start a machine."""


def about(path: bytes | str, problem: str) -> Unusable:
    """Return the error about one file.

    Args:
        path: The file.
        problem: What is wrong with it, as the end of a sentence.
    """
    name = path.encode() if isinstance(path, str) else path
    return Unusable(f"has a file {quoted(name)} that cannot be used: {problem}")
