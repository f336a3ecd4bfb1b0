# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels and initrds, stored as images with their bytes. The functions block."""

import hashlib
import os
from typing import Any

from virtlayer.errors import Internal, VolumeNotFound
from virtlayer.protocol.boot_names import digest_in_name
from virtlayer.rbd.binding import rbd
from virtlayer.rbd.images import is_ours
from virtlayer.rbd.making import create_image
from virtlayer.rbd.removal import PROGRESS
from virtlayer.sizes import MIB

BOOT_FILE_LIMIT = 512 * MIB
"""Bytes of a kernel or initrd."""
_CHUNK = 4 * MIB


def store_file(images: Any, name: str, content: int) -> str:
    """Make an image with the bytes of a sealed memory file.

    Args:
        images: The pool's I/O context.
        name: The name of the image.
        content: A descriptor of the file, which is not empty.

    Returns:
        The SHA-256 digest of the bytes, as hexadecimal digits.

    Raises:
        rbd.Error: The cluster does not answer, or refuses it.
    """
    size = os.fstat(content).st_size
    create_image(images, name, size)
    digest = hashlib.sha256()
    with rbd.Image(images, name) as image:
        for offset in range(0, size, _CHUNK):
            piece = os.pread(content, _CHUNK, offset)
            digest.update(piece)
            image.write(piece, offset)
            PROGRESS.made()
        image.flush()
    return digest.hexdigest()


def read_file(images: Any, name: str, output: int) -> None:
    """Write the bytes of a kernel or initrd to a file, from its beginning.

    Args:
        images: The pool's I/O context.
        name: The name of the image, which has the digest of the bytes.
        output: A descriptor of an empty file.

    Raises:
        VolumeNotFound: There is no such image that virtlayer has made, or its bytes are not those
            that its name says.
        Internal: It is not the name of a kernel or initrd.
        rbd.Error: The cluster does not answer, or refuses it.
    """
    expected = digest_in_name(name)
    if expected is None:
        raise Internal("Only kernels and initrds can be read.")
    digest = hashlib.sha256()
    try:
        with rbd.Image(images, name, read_only=True) as image:
            size = int(image.size())
            if not is_ours(image) or size > BOOT_FILE_LIMIT:
                raise _missing(images, name)
            for offset in range(0, size, _CHUNK):
                piece = image.read(offset, min(_CHUNK, size - offset))
                digest.update(piece)
                os.pwrite(output, piece, offset)
                PROGRESS.made()
    except rbd.ImageNotFound as error:
        raise _missing(images, name) from error
    if digest.hexdigest() != expected:
        raise _missing(images, name)


def _missing(images: Any, name: str) -> VolumeNotFound:
    return VolumeNotFound(
        f'The pool "{images.name}" has no intact image "{name}" that virtlayer has made.'
    )
