# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts the sandboxed processes that write a directory.

They start with a socket to the daemon as their standard input, and a descriptor of the directory.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from virtlayer.worker.sandbox.directory import enter_directory_sandbox
from virtlayer.worker.sandbox.enter import Limits
from virtlayer.worker.serving import obey_cpu_limit

_DESCRIPTORS = 96
"""Of these, 64 are directories (``node_table``)."""
_FILE_SIZE = 2**63 - 1


class Start(NamedTuple):
    """What the process writes, and how."""

    directory: int
    """A descriptor."""
    squashed: bool
    """Whether everything is to belong to the daemon's user, who is not root."""


def start(*, customizes: bool) -> Start:
    """Enter the sandbox as the arguments of the process say; no other file can be opened then.

    Args:
        customizes: Whether the process customizes the directory, instead of applying layers.
    """
    memory, cpu_seconds, directory = map(int, sys.argv[1:])
    squashed = os.geteuid() != 0
    obey_cpu_limit()
    limits = Limits(
        memory=memory, cpu_seconds=cpu_seconds, descriptors=_DESCRIPTORS, file_size=_FILE_SIZE
    )
    enter_directory_sandbox(limits, directory, customizes=customizes)
    return Start(directory, squashed)
