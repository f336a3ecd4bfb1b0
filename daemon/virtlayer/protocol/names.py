# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of pools, volumes, images and domains.

Each kind has a type. Only the functions here make values of these types, so a function that takes
a ``PoolName`` needs no check of its own. Names come from callers and from the files of images.d.
They appear in messages, tables and paths: a line break in a name could forge a line of the journal,
a slash could lead out of a pool.
"""

from typing import NewType

from virtlayer.errors import InvalidArgument

PoolName = NewType("PoolName", str)
VolumeName = NewType("VolumeName", str)
ImageName = NewType("ImageName", str)
DomainName = NewType("DomainName", str)

NAME_LIMIT = 255
"""Bytes in UTF-8: more is not a file name on Linux (NAME_MAX)."""
_SHOWN = 80
"""Characters of an invalid name that are repeated in the error."""


def parse_pool_name(text: str) -> PoolName:
    """Check the name of a pool.

    Raises:
        InvalidArgument: It is not valid.
    """
    return PoolName(_checked("pool", text))


def parse_volume_name(text: str) -> VolumeName:
    """Check the name of a volume.

    Raises:
        InvalidArgument: It is not valid.
    """
    return VolumeName(_checked("volume", text))


def parse_image_name(text: str) -> ImageName:
    """Check the name of an image, which may contain slashes, as references do.

    Raises:
        InvalidArgument: It is not valid.
    """
    return ImageName(_checked("image", text, slash=True))


def parse_domain_name(text: str) -> DomainName:
    """Check the name of a domain.

    Raises:
        InvalidArgument: It is not valid.
    """
    return DomainName(_checked("domain", text))


def _checked(kind: str, text: str, *, slash: bool = False) -> str:
    # What is not printable: control characters, line separators, characters that change the
    # direction of text, and surrogates, which stand for invalid UTF-8.
    valid = (
        text.isprintable()
        and text.strip() not in {"", ".", ".."}
        and len(text.encode()) <= NAME_LIMIT
        and (slash or "/" not in text)
    )
    if not valid:
        shown = text[:_SHOWN] + ("..." if len(text) > _SHOWN else "")
        rule = "" if slash else ", and has no slash"
        raise InvalidArgument(
            f'Invalid {kind} name "{shown}": a name is printable, at most {NAME_LIMIT} bytes '
            f"long{rule}."
        )
    return text
