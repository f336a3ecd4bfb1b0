# SPDX-License-Identifier: LGPL-2.1-or-later
"""``podman pull`` into fresh storage, with the storage driver that podman itself picks."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench.commands import disk_usage, run, stopwatch, sync
from bench.inputs import Image, Inputs
from bench.result import Finished

_OWN = (b"",)
"""podman's root directory has always mode 0555 and the time of the pull."""


class Podman:
    """The contestant."""

    title = "podman pull"

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Pull an image."""
        storage = directory / "storage"
        reference = self._inputs.reference(image).removeprefix("docker://")
        try:
            with stopwatch() as watch:
                _podman(directory, "pull", "--tls-verify=false", reference)
                sync(directory)
            yield Finished(
                watch.seconds,
                disk_usage(storage),
                lambda: _tree(directory, reference),
                ignoring=_OWN,
            )
        finally:
            # podman mounts its own directory over itself, and leaves it so.
            if os.path.ismount(storage / "overlay"):
                run("umount", storage / "overlay")


@contextlib.contextmanager
def _tree(directory: Path, reference: str) -> Iterator[Path]:
    try:
        yield Path(_podman(directory, "image", "mount", reference).strip())
    finally:
        _podman(directory, "image", "unmount", "--all")


def _podman(directory: Path, *arguments: str) -> str:
    return run(
        "podman",
        f"--root={directory}/storage",
        f"--runroot={directory}/run",
        # Nothing of it may touch the machine's own podman, or need a running systemd.
        *("--events-backend=none", "--cgroup-manager=cgroupfs"),
        *arguments,
        # Downloads go to the file system that the result is on.
        env={"TMPDIR": str(directory)},
    )
