# SPDX-License-Identifier: LGPL-2.1-or-later
"""podman with a store of its own; for tests that run as root."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.waiting import PATIENCE

# crun starts no container where both versions of cgroups are mounted.
_SCRIPT = """
if mountpoint -q /sys/fs/cgroup/unified; then umount -l /sys/fs/cgroup/unified; fi
exec podman "$@"
"""


class Podman:
    """A store of podman's.

    Attributes:
        directory: Where everything of it is.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def import_tree(self, tree: Path, name: str, changes: Sequence[str] = ()) -> None:
        """Make an image of a directory.

        Args:
            tree: The directory.
            name: The image's name.
            changes: Instructions of a Dockerfile.
        """
        archive = self.directory / f"{name}.tar"
        subprocess.run(["tar", "-C", tree, "-cf", archive, "."], check=True)
        options = [f"--change={change}" for change in changes]
        done = self._podman("import", "--quiet", *options, str(archive), name)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a container without network to its end."""
        return self._podman("run", "--rm", "--network=none", *arguments)

    def _podman(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        store = (
            f"--root={self.directory}/root",
            f"--runroot={self.directory}/run",
            f"--tmpdir={self.directory}/state",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        )
        return subprocess.run(
            ["unshare", "--mount", "sh", "-euc", _SCRIPT, "sh", *store, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"},
        )
