# SPDX-License-Identifier: LGPL-2.1-or-later
"""Staging directories as a test sees them: by their path."""

from pathlib import Path

from virtlayer.keeper.staging import StagingDirectory


def path_of(staging: StagingDirectory) -> Path:
    """Where a staging directory is now."""
    return Path(f"/proc/self/fd/{staging.descriptor}").readlink()
