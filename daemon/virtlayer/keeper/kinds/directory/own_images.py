# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that a finished image, which is to get a name in a pool, refers to our volumes only.

The service says what a program of ours writes. A service that was taken over could have an image
made whose header names any file of the host; libvirt would give that file to the user of a machine.
Few bytes are read, by code that is safe with any of them, so this is done without a worker.
"""

import hashlib
import os
from collections.abc import Callable

from virtlayer.errors import Internal
from virtlayer.keeper.backing import volume_named
from virtlayer.protocol.boot_names import digest_in_name
from virtlayer.protocol.disk_format import HEADER_READ, BadDisk, disk_format
from virtlayer.protocol.image_formats import read_header
from virtlayer.protocol.image_headers import ImageHeader
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.sizes import MIB

_PIECE = MIB


def check_overlay(file: int, name: str, format_of_disk: Callable[[str], str | None]) -> None:
    """Check that an image of QEMU's programs has no backing file, or one of ours in its own pool.

    Args:
        file: A descriptor of it; stays the caller's.
        name: What the volume is to be called, for the error.
        format_of_disk: Returns the format of a disk of the pool that virtlayer has placed; None for
            another volume.

    Raises:
        Internal: It is not such a qcow2.
    """
    header = read_header(file)
    fits = not header.backing or _is_ours(header, format_of_disk)
    if header.format != "qcow2" or header.problem or header.data_file or not fits:
        raise Internal(
            f"The volume {name} was not added to the pool: it is not a qcow2 that is backed by "
            "layers, or a disk, of this pool only."
        )


def _is_ours(header: ImageHeader, format_of_disk: Callable[[str], str | None]) -> bool:
    if is_layer_volume(header.backing):
        return header.backing_format == "qcow2"
    # The format of the header counts for QEMU: a guest could write another one into a raw disk.
    disk = volume_named(header.backing)
    found = None if disk is None else format_of_disk(disk)
    return found is not None and found == header.backing_format


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


def check_boot_volume(file: int, name: str) -> None:
    """Check that a kernel or an initrd has the digest that is in its name, and is not a disk.

    Machines share it, and QEMU loads it as it is. libvirt looks into every file of a pool, and
    would follow the header of a disk to other files.

    Args:
        file: A descriptor of it, to which nothing is written meanwhile; stays the caller's.
        name: What the volume is to be called.

    Raises:
        Internal: It has another digest, or libvirt would take it for a disk.
    """
    if not _is_raw(file) or _sha256(file) != digest_in_name(name):
        raise Internal(
            f"The volume {name} was not added to the pool: it is not a kernel or an initrd with "
            "that digest."
        )


def _is_raw(file: int) -> bool:
    try:
        return disk_format(os.pread(file, HEADER_READ, 0)) == "raw"
    except BadDisk:
        return False


def _sha256(file: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(file, _PIECE, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()
