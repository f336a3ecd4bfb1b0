# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of backing files in the headers of images.

The syntax is qemu's: a path, seen from the directory of the image; or, with a colon before the
first slash, a protocol and its own syntax, or JSON.
"""

from pathlib import Path

from virtlayer.errors import InUse
from virtlayer.printable import printable

_NETWORK = frozenset(
    {
        *("ftp", "ftps", "http", "https", "nfs", "rbd", "sheepdog", "ssh", "tftp"),
        *("gluster", "gluster+rdma", "gluster+tcp", "iscsi", "iser", "nbd", "nbd+tcp"),
    }
)
"""Protocols of other machines; a layer is a file of this one."""
_SHOWN = 80
"""Characters of a name in a message."""


def named_file(name: str, image: Path) -> Path | None:
    """The file that a name in an image's header stands for; None for one of another machine.

    Args:
        name: The name, which is untrusted.
        image: The image.

    Raises:
        InUse: The name is not a path, so the file cannot be found without qemu.
    """
    protocol, colon, _ = name.partition("/")[0].partition(":")
    if not colon:
        return image.parent / name
    if protocol in _NETWORK:
        return None
    shown = printable(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...")
    raise unclear(
        image,
        f'it is backed by "{shown}", which is not a path',
        "Delete it, or change its backing file to a path (qemu-img rebase -u).",
    )


def backing_name(volume: str) -> str:
    """Return the name for the header of an overlay of a volume in the same directory.

    The volume of a disk can be called as the reference of its image: ``fedora:43``.
    """
    return f"./{volume}" if ":" in volume else volume


def volume_named(backing: str) -> str | None:
    """Return the volume whose ``backing_name`` this is; None if it is of another form."""
    volume = backing.removeprefix("./")
    return volume if backing_name(volume) == backing else None


def unclear(image: Path, reason: str, remedy: str) -> InUse:
    """Return the error about an image whose backing files cannot be determined.

    Args:
        image: The image.
        reason: Why, as a part of a sentence.
        remedy: What to do about it: a sentence.
    """
    return InUse(
        f"Nothing was removed: cannot determine which layers the image {printable(str(image))} "
        f"needs, because {reason}. {remedy}"
    )
