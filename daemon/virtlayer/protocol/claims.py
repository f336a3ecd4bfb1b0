# SPDX-License-Identifier: LGPL-2.1-or-later
"""Claims on the volumes of a pool and the pool's lock, as service and keeper exchange them."""

from dataclasses import dataclass

from virtlayer.errors import InUse
from virtlayer.protocol.checks import BuildKey, Number, Uuid, VolumeName


class PoolLocked(InUse):
    """Another process holds the pool's lock for longer than one request waits: try again."""


@dataclass(frozen=True, slots=True)
class ClaimVolumes:
    """Volumes that a job needs, and layers that it is going to build.

    Attributes:
        pool: The pool.
        claim: The number of the claim that they are added to; None for a new one.
        names: The volumes, which may not exist yet.
        build: The keys of layers that no other job may build while the claim lasts, or until the
            layer is placed.
    """

    pool: Uuid
    claim: Number | None
    names: tuple[VolumeName, ...]
    build: tuple[BuildKey, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim. The descriptor of its lock comes with the first answer.

    Attributes:
        claim: Its number.
        busy: The keys of those layers that another claim builds.
    """

    claim: Number
    busy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locked:
    """The lock of a pool, which excludes new claims on any host.

    Attributes:
        lock: Its number.
        claimed: The names of the volumes that the jobs of all hosts need.
    """

    lock: Number
    claimed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A claim with its staging directories, a lock, or a staging directory to be released.

    Attributes:
        number: Its number.
        failed: Whether its job failed: libvirt is asked to look at what it had finished.
    """

    number: Number
    failed: bool
