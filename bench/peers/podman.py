# SPDX-License-Identifier: LGPL-2.1-or-later
"""``podman pull`` into fresh storage, with the storage driver that podman itself picks."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench.commands import disk_usage, run, stopwatch, sync
from bench.inputs import Image, Inputs
from bench.result import Finished

OWN = (b"",)
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
                podman(directory, "pull", "--tls-verify=false", reference)
                sync(directory)
            yield Finished(
                watch.seconds,
                disk_usage(storage),
                lambda: podman_tree(directory, reference),
                ignoring=OWN,
            )
        finally:
            end_podman(directory)


@contextlib.contextmanager
def podman_tree(directory: Path, reference: str) -> Iterator[Path]:
    """Mount an image that was pulled."""
    try:
        yield Path(podman(directory, "image", "mount", reference).strip())
    finally:
        podman(directory, "image", "unmount", "--all")


def end_podman(directory: Path) -> None:
    """Leave nothing mounted: podman mounts its own directory over itself, and leaves it so."""
    if os.path.ismount(directory / "storage/overlay"):
        run("umount", directory / "storage/overlay")


def podman(directory: Path, *arguments: str, settings: Path | None = None) -> str:
    """Run podman with a store of its own.

    Args:
        directory: The store is below it.
        arguments: The command.
        settings: A storage.conf; None for the machine's.
    """
    environment = {} if settings is None else {"CONTAINERS_STORAGE_CONF": str(settings)}
    return run(
        "podman",
        f"--root={directory}/storage",
        f"--runroot={directory}/run",
        # Nothing of it may touch the machine's own podman, or need a running systemd.
        *("--events-backend=none", "--cgroup-manager=cgroupfs"),
        *arguments,
        # Downloads go to the file system that the result is on.
        env={"TMPDIR": str(directory), **environment},
    )
