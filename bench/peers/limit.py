# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the machine can do at best: write the finished bytes, or read and check the blobs.

Both are needed whatever the program, and they can go on at the same time; so the longer one counts.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.commands import run, stopwatch, sync, warm
from bench.inputs import Image, Inputs
from bench.result import Finished


class Limit:
    """The contestant.

    Args:
        inputs: The images.
        kept: Where the finished volumes of the image are.
    """

    title = "physical limit"

    def __init__(self, inputs: Inputs, kept: Path) -> None:
        self._inputs = inputs
        self._kept = kept

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Copy the volumes of an image, and decompress and hash its blobs."""
        volumes = sorted(self._kept.iterdir())
        warm(*volumes)
        with stopwatch() as writing:
            run("cp", *volumes, directory)
            sync(directory)
        with stopwatch() as reading:
            for layer, blob in zip(image.layers, self._inputs.blobs(image), strict=True):
                found = _digests(blob)
                assert found == {layer.digest, layer.diff_id}, f"{blob} is damaged"
        seconds = max(writing.seconds, reading.seconds)
        parts = {"write": writing.seconds, "read": reading.seconds}
        yield Finished(seconds, 0, None, parts)


def _digests(blob: Path) -> set[str]:
    """The digests of a blob and of what is in it, on all the processors that this can use."""
    commands = ('sha256sum "$0"', 'set -o pipefail; igzip --decompress --stdout "$0" | sha256sum')
    with contextlib.ExitStack() as running:
        hashes = [
            running.enter_context(
                subprocess.Popen(["bash", "-c", command, blob], stdout=subprocess.PIPE, text=True)
            )
            for command in commands
        ]
        outputs = [process.communicate()[0] for process in hashes]
    assert all(process.returncode == 0 for process in hashes), f"{blob} cannot be read"
    return {f"sha256:{output.split()[0]}" for output in outputs}
