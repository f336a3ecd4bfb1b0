# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of boot volumes: kernels and initrds, which are called after their content.

The service gives the names, and the keeper compares each with the content of the file.
"""

import re
from enum import StrEnum

_BOOT_VOLUME = re.compile(r"(?:kernel|initrd)-([0-9a-f]{64})")


class BootPart(StrEnum):
    """What a machine boots with, apart from its disk."""

    KERNEL = "kernel"
    INITRD = "initrd"


def boot_volume_name(part: BootPart, sha256: str) -> str:
    """Return the name of a boot volume.

    Args:
        part: What it is.
        sha256: The digest of its content, as hexadecimal digits.
    """
    return f"{part}-{sha256}"


def digest_in_name(name: str) -> str | None:
    """Return the SHA-256 digest in the name of a boot volume; None for any other volume."""
    match = _BOOT_VOLUME.fullmatch(name)
    return None if match is None else match[1]


def is_boot_volume(name: str) -> bool:
    """Whether a volume's name is one that ``boot_volume_name`` gives."""
    return digest_in_name(name) is not None
