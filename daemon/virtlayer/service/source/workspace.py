# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories and limits of this host for opening images."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.service.source.caller_source import ArchiveRoom
from virtlayer.service.source.policy import SignaturePolicy

PATIENCE = 120.0
"""Seconds without data from a registry after which it counts as unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The directories for skopeo's files, and its timeouts.

    Attributes:
        runtime: A directory in memory, for credentials.
        scratch: A directory on disk, for what skopeo unpacks or converts.
        room: The space for copies of callers' archives.
        policy: Whose signatures images need.
        patience: Seconds without data after which a registry counts as unavailable.
    """

    runtime: Path
    scratch: Path
    room: ArchiveRoom
    policy: SignaturePolicy
    patience: float = PATIENCE
