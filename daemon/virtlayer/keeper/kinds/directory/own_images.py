# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that a finished image, which is to get a name in a pool, refers to layers only.

The service says what a program of ours writes. A service that was taken over could have an image
made whose header names any file of the host; libvirt would give that file to the user of a machine.
Few bytes are read, by code that is safe with any of them, so this is done without a worker.
"""

import os

from virtlayer.errors import Internal
from virtlayer.protocol.disk_format import HEADER_READ, BadDisk, disk_format
from virtlayer.protocol.image_formats import read_header
from virtlayer.protocol.layer_names import is_layer_volume


def check_overlay(file: int, name: str) -> None:
    """Check that an image of QEMU's programs has no backing file, or a layer of its own pool.

    Args:
        file: A descriptor of it; stays the caller's.
        name: What the volume is to be called, for the error.

    Raises:
        Internal: It is not such a qcow2.
    """
    header = read_header(file)
    fits = not header.backing or (
        is_layer_volume(header.backing) and header.backing_format == "qcow2"
    )
    if header.format != "qcow2" or header.problem or header.data_file or not fits:
        raise Internal(
            f"The volume {name} was not added to the pool: it is not a qcow2 that is backed by "
            "layers of this pool only."
        )


def check_disk(file: int, name: str) -> None:
    """Check that a disk from an image refers to no other file.

    Args:
        file: A descriptor of it; stays the caller's.
        name: What the volume is to be called, for the error.

    Raises:
        Internal: It does, or is of a format that could.
    """
    try:
        disk_format(os.pread(file, HEADER_READ, 0))
    except BadDisk as error:
        raise Internal(
            f"The volume {name} was not added to the pool: the disk image {error}."
        ) from error
