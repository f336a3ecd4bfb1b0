# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks into qcow2 volumes and chains, independently of what made them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.trees import mounted

from bench.commands import run
from bench.places import scratch


@contextlib.contextmanager
def volume_tree(volume: Path) -> Iterator[Path]:
    """The file system on a volume, read through its backing chain and mounted by the kernel."""
    with scratch("look") as directory:
        raw = directory / "raw"
        run("qemu-img", "convert", "-O", "raw", volume, raw)
        with mounted(raw, directory / "mnt") as root:
            yield root
