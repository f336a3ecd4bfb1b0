# SPDX-License-Identifier: LGPL-2.1-or-later
"""``skopeo copy`` into a directory: all that has to come from the registry, and nothing else."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.commands import run, stopwatch
from bench.inputs import Image, Inputs
from bench.result import Finished


class Copy:
    """The contestant.

    Args:
        inputs: The images.
    """

    title = "skopeo copy"

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Copy an image."""
        source = self._inputs.reference(image)
        with stopwatch() as watch:
            run("skopeo", "copy", "-q", "--src-tls-verify=false", source, f"dir:{directory}/copy")
        yield Finished(watch.seconds, 0, None)
