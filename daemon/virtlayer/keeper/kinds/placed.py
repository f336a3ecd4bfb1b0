# SPDX-License-Identifier: LGPL-2.1-or-later
"""A volume that has its name in a pool."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.keeper.beneath import Identity
from virtlayer.protocol.records import ListedRecord


@dataclass(frozen=True, slots=True)
class Placed:
    """A volume's file in the pool's directory.

    Attributes:
        path: The file.
        ours: False if another process had finished the same volume before.
        identity: What was placed, whatever has the name now.
        record: The record that was written with it; None if none was.
    """

    path: Path
    ours: bool
    identity: Identity
    record: ListedRecord | None = None
