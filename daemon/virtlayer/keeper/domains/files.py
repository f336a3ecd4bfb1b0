# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of the files of a pool that belong to one domain, and of those that domains share."""

import re

_BOOT_VOLUME = re.compile(r"(kernel|initrd)-[0-9a-f]{64}")


def config_file(uuid: str) -> str:
    """The name of the disk with the configuration of our init."""
    return f"config-{uuid}.raw"


def seed_file(uuid: str) -> str:
    """The name of the NoCloud seed."""
    return f"seed-{uuid}.iso"


def own_files(uuid: str) -> tuple[str, str]:
    """The names of both."""
    return config_file(uuid), seed_file(uuid)


def is_boot_volume(kind: str, name: str) -> bool:
    """Whether a name is that of a kernel or an initrd, by the digest of its content.

    Args:
        kind: "kernel" or "initrd".
        name: The name.
    """
    found = _BOOT_VOLUME.fullmatch(name)
    return found is not None and found[1] == kind
