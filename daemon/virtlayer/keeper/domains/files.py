# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of the files of a pool that belong to one domain."""


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


def own_files(uuid: str) -> tuple[str, str]:
    """The names of both."""
    return config_file(uuid), seed_file(uuid)
