# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of images in an RBD pool: unfinished ones say whose they are."""

import re

from virtlayer.errors import InvalidArgument

_PREFIX = "virtlayer-unfinished-"
_NAME = re.compile(rf"{_PREFIX}([0-9a-f]{{32}})-.+")


def unfinished_name(claim: str, name: str) -> str:
    """The name of an unfinished image.

    Args:
        claim: The name of the claim that it belongs to.
        name: What else tells it from others of that claim.
    """
    return f"{_PREFIX}{claim}-{name}"


def claim_of(image: str) -> str | None:
    """The name of the claim that an image belongs to; None if it is not an unfinished one."""
    parts = _NAME.fullmatch(image)
    return None if parts is None else parts[1]


def check_new_image(name: str) -> None:
    """Check that a new volume in an RBD pool can have a name.

    Raises:
        InvalidArgument: It cannot.
    """
    if "@" in name:
        raise InvalidArgument(
            f'An RBD image cannot be called "{name}": "@" separates snapshots. Choose another name.'
        )
    if claim_of(name) is not None:
        raise InvalidArgument(
            f'An RBD image cannot be called "{name}": such names are reserved for unfinished '
            "images. Choose another name."
        )
