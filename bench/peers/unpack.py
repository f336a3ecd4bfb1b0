# SPDX-License-Identifier: LGPL-2.1-or-later
"""``skopeo copy`` and ``umoci unpack``: a directory, and nothing that a machine could boot."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.commands import disk_usage, run, stopwatch, sync
from bench.inputs import Image, Inputs
from bench.result import Finished, at


class Umoci:
    """The contestant."""

    title = "skopeo copy + umoci unpack"

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Unpack an image."""
        layout, bundle = f"{directory}/layout:image", directory / "bundle"
        reference = self._inputs.reference(image)
        with stopwatch() as watch:
            run("skopeo", "copy", "--src-tls-verify=false", reference, f"oci:{layout}")
            run("umoci", "unpack", "--image", layout, bundle)
            sync(directory)
        rootfs = bundle / "rootfs"
        yield Finished(watch.seconds, disk_usage(rootfs), at(rootfs))
