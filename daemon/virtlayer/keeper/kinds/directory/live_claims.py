# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads which volumes the running jobs of all hosts need."""

import os

from virtlayer.errors import InUse
from virtlayer.keeper.beneath import NotRegular, open_regular, opened
from virtlayer.keeper.calls import ask_server
from virtlayer.keeper.kinds.directory.locks import is_locked
from virtlayer.keeper.kinds.directory.own_directory import CLAIMS, OwnDirectory
from virtlayer.sizes import MIB

_CLAIM_LIMIT = 8 * MIB
"""Bytes: more than ``claims.NAMES_LIMIT`` names."""


def live_claims(own: OwnDirectory) -> dict[str, frozenset[str]]:
    """Return the volumes that all running jobs need, by claim; the caller has the pool's lock.

    Args:
        own: ``.virtlayer`` of the pool.

    Raises:
        InUse: The claim of a job cannot be read.
        OSError: The claims cannot be listed.
    """
    claims: dict[str, frozenset[str]] = {}
    with opened(own.open_part(CLAIMS)) as directory:
        ask_server(directory)
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries]
        for name in found:
            try:
                claims[name] = frozenset(_names_in(directory, name))
            except (OSError, ValueError) as error:
                raise InUse(
                    f"Nothing was removed: cannot determine which volumes of the pool "
                    f'"{own.pool.name}" a job is using, because its claim '
                    f"{own.path / CLAIMS / name} is unreadable: {error}. "
                    "Try again when all jobs have ended; then, delete that file."
                ) from error
    return claims


def _names_in(directory: int, name: str) -> list[str]:
    """Return the names in a claim; nothing if its job no longer runs, or if it is not a claim."""
    try:
        file = open_regular(directory, name)
    except (FileNotFoundError, NotRegular):
        return []
    with opened(file):
        if not is_locked(file):
            return []
        content = b""
        while part := os.pread(file, _CLAIM_LIMIT + 1 - len(content), len(content)):
            content += part
    if len(content) > _CLAIM_LIMIT:
        raise ValueError("it is too long")
    # A name without a newline was not written completely: the job does not rely on it.
    return content.decode().split("\n")[:-1]
