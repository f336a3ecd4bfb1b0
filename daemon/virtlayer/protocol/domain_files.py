# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of the files of a pool that belong to one domain."""

import re

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FILE = re.compile(rf"config-({_UUID})\.raw|seed-({_UUID})\.iso|output-({_UUID})\.raw")


def config_file(uuid: str) -> str:
    """The name of the disk with the configuration of our init."""
    return f"config-{uuid}.raw"


def seed_file(uuid: str) -> str:
    """The name of the NoCloud seed."""
    return f"seed-{uuid}.iso"


def output_file(uuid: str) -> str:
    """The name of the file with the output records of a container.

    That of a machine is with libvirt's logs, which users of a container cannot reach.
    """
    return f"output-{uuid}.raw"


def domain_in_name(name: str) -> str | None:
    """Return the UUID of the domain that a file belongs to, by its name; None for another file."""
    match = _FILE.fullmatch(name)
    return None if match is None else match[match.lastindex or 0]


def own_files(uuid: str) -> tuple[str, str]:
    """The names of both."""
    return config_file(uuid), seed_file(uuid)
