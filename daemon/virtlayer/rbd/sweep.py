# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes what processes left in the pool that no longer run, on any host."""

import errno
import logging
from collections.abc import Iterable
from typing import Any

from virtlayer.errors import InUse
from virtlayer.protocol.rbd_names import claim_of
from virtlayer.rbd import keys
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.failures import refused_by_cluster
from virtlayer.rbd.live_claims import claim_in
from virtlayer.rbd.removal import remove_unfinished
from virtlayer.rbd.takeover import Takeover

_log = logging.getLogger(__name__)


def sweep(takeover: Takeover, images: Any) -> int:
    """Remove what dead processes left: claims, builds, the lock, and unfinished images.

    An image that a program has still open stays until the next time: if its host failed, that is
    known after 30 s.

    Args:
        takeover: Ends what dead processes had.
        images: Ceph's I/O context of the pool's images.

    Returns:
        The number of jobs whose claims or images were removed.

    Raises:
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    table = takeover.lease.table
    # Before the claims: an image is removed before its claim ends.
    unfinished = _unfinished(images, table.pool)
    if not unfinished and not table.is_used():
        return 0
    before = _claims(takeover)
    processes = {key.removeprefix(keys.PROCESSES) for key, _ in table.scan(keys.PROCESSES)}
    # A process without an entry ended before it wrote one, or after it deleted it.
    for process in filter(keys.is_id, processes | takeover.lease.locks.processes()):
        try:
            takeover.end_if_dead(process)
        except InUse as error:
            _log.warning("%s", error.message)
    alive = _claims(takeover)
    # Who has the lock deletes images, and may have to give one its name again.
    owners = alive | _lock(takeover)
    dead = {image: claim for image, claim in unfinished.items() if claim not in owners}
    removed = _remove(images, dead, table.pool)
    return len((before - alive) | {dead[image] for image in removed})


def _claims(takeover: Takeover) -> set[str]:
    found = (claim_in(key) for key, _ in takeover.lease.table.scan(keys.CLAIMS))
    return {claim for claim in found if claim is not None}


def _lock(takeover: Takeover) -> set[str]:
    value = takeover.lease.table.get([keys.LOCK]).get(keys.LOCK, b"")
    return {value.decode("ascii", "replace").partition(" ")[2]}


def _unfinished(images: Any, pool: str) -> dict[str, str]:
    try:
        names: Iterable[str] = rbd.RBD().list(images)
    except (rados.Error, rbd.Error) as error:
        raise refused_by_cluster(error, pool) from error
    found = {name: claim_of(name) for name in names}
    return {name: claim for name, claim in found.items() if claim is not None}


def _remove(images: Any, names: Iterable[str], pool: str) -> set[str]:
    """Remove images as far as possible; return which were removed."""
    removed: set[str] = set()
    left = set(names)
    # An image may be the parent of another one, which has to be removed before.
    while done := {name for name in sorted(left) if _try_remove(images, name, pool)}:
        removed |= done
        left -= done
    return removed


def _try_remove(images: Any, name: str, pool: str) -> bool:
    try:
        return remove_unfinished(images, name)
    except rbd.Error as error:
        if error.errno in (errno.ETIMEDOUT, errno.ESHUTDOWN):
            raise refused_by_cluster(error, pool) from error
        _log.info("The unfinished image %s/%s is still in use: %s.", pool, name, error)
        return False
