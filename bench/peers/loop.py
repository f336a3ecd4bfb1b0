# SPDX-License-Identifier: LGPL-2.1-or-later
"""``skopeo copy``, a loop mount, GNU tar and ``qemu-img convert``: what a script would do."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from bench.commands import disk_usage, run, stopwatch, sync
from bench.inputs import Image, Inputs
from bench.result import Finished
from bench.volumes import volume_tree

_SIZE = 16 * 1024**3
"""Of the file system, as virtlayer makes it by default."""

# Without the last flag of tar, a directory to which the archive comes back has the time of that.
_SCRIPT = """
mount -o loop "$1" "$2"
rmdir "$2/lost+found"
tar --extract --gzip --file="$3" --directory="$2" --same-permissions --numeric-owner \\
    --xattrs-include='*' --delay-directory-restore
umount "$2"
"""


class Loop:
    """The contestant; it knows no whiteouts, so it takes part with images of one layer."""

    title = "skopeo copy + loop mount + tar + qemu-img convert"

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Make a qcow2 of an image."""
        volume = directory / "volume.qcow2"
        with stopwatch() as watch:
            raw = new_file_system(self._inputs, image, directory, _SIZE)
            run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, volume)
            sync(directory)
        yield Finished(watch.seconds, disk_usage(volume), lambda: volume_tree(volume))


def new_file_system(inputs: Inputs, image: Image, directory: Path, size: int) -> Path:
    """Make a raw file with the file system of an image, which has one layer.

    Args:
        inputs: The images.
        image: The image.
        directory: For that file and others.
        size: Of the file system, in bytes.
    """
    assert len(image.layers) == 1
    layout, raw = directory / "layout", directory / "raw"
    run(
        *("skopeo", "copy", "--src-tls-verify=false"),
        *(inputs.reference(image), f"oci:{layout}:image"),
    )
    with raw.open("wb") as file:
        os.truncate(file.fileno(), size)
    run("mkfs.ext4", "-q", raw)
    _extract(layout, raw, directory / "mnt")
    return raw


def _extract(layout: Path, raw: Path, at: Path) -> None:
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(_blob(layout, entry["digest"]).read_text())
    [layer] = manifest["layers"]
    at.mkdir()
    # In a mount namespace of its own: a copy of the mount in another one, such as that of a service
    # that starts meanwhile, would keep the file system from being written out by umount.
    run(
        *("unshare", "--mount", "--propagation=private", "--", "sh", "-euc", _SCRIPT),
        *("sh", raw, at, _blob(layout, layer["digest"])),
    )


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")
