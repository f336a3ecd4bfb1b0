# SPDX-License-Identifier: LGPL-2.1-or-later
"""What opening any image needs of this host."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.service.source.caller_source import ArchiveRoom
from virtlayer.service.source.policy import SignaturePolicy

PATIENCE = 120.0
"""Seconds without any sign of life from a registry after which it counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where skopeo's files are, and how long it is waited for.

    Attributes:
        runtime: A directory in memory, for credentials.
        scratch: A directory on disk, for what skopeo unpacks or converts.
        room: The space for copies of callers' archives.
        policy: Whose signatures images need.
        patience: Seconds without a sign of life after which a registry counts as gone.
    """

    runtime: Path
    scratch: Path
    room: ArchiveRoom
    policy: SignaturePolicy
    patience: float = PATIENCE
