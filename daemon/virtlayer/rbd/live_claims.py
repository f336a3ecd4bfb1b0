# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads which volumes the running jobs of all hosts need."""

import re
from collections.abc import Mapping

from virtlayer.errors import InUse
from virtlayer.rbd import keys
from virtlayer.rbd.takeover import Takeover

_KEY = re.compile(rf"{keys.CLAIMS}([0-9a-f]{{32}}) ([0-9a-f]{{32}}) [0-9]+")
_LIMIT = 32 * 2**20
"""Bytes of all names."""


def live_claims(takeover: Takeover) -> Mapping[str, tuple[str, ...]]:
    """Return the volumes that all running jobs need, by claim; this process has the pool's lock.

    Args:
        takeover: Ends what dead processes had.

    Raises:
        InUse: A claim is invalid.
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    claims: dict[str, dict[str, list[str]]] = {}
    length = 0
    for key, value in takeover.lease.table.scan(keys.CLAIMS):
        length += len(value)
        parts = _KEY.fullmatch(key)
        if parts is None or length > _LIMIT:
            raise _invalid(takeover, key)
        try:
            names = [name for name in value.decode().split("\n") if name]
        except UnicodeDecodeError as error:
            raise _invalid(takeover, key) from error
        claims.setdefault(parts[1], {}).setdefault(parts[2], []).extend(names)
    return {
        claim: tuple(names)
        for process, of_process in claims.items()
        if not takeover.end_if_dead(process)
        for claim, names in of_process.items()
    }


def claim_in(key: str) -> str | None:
    """The name of the claim in a key of the table; None if it is invalid."""
    parts = _KEY.fullmatch(key)
    return None if parts is None else parts[2]


def _invalid(takeover: Takeover, key: str) -> InUse:
    pool = takeover.lease.table.pool
    return InUse(
        f'Nothing was removed: cannot determine which volumes of the pool "{pool}" a job is using, '
        f"because its claim is invalid. When all jobs have ended, run: rados -p {pool} -N "
        f"virtlayer rmomapkey pool '{key}'"
    )
