# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unprivileged users that the programs of a root keeper run as."""

import os
import pwd
from dataclasses import replace

from virtlayer.keeper.pools import Pools
from virtlayer.programs import Identity

WORKER_USER = "virtlayer-worker"
"""The user of workers, which parse the contents of images."""
QEMU_USER = "virtlayer-qemu"
"""The user of QEMU's programs. Both are made by the package (systemd/sysusers.d); ``nobody`` takes
the place of one that is missing."""


def worker_identity() -> Identity | None:
    """Return the user of workers; None for this process's user, who is not root."""
    return _identity(WORKER_USER)


def qemu_identity(readers: int | None = None) -> Identity | None:
    """Return the user of QEMU's programs; None for this process's user, who is not root.

    Args:
        readers: The group that it needs to read layers; None for no further group.
    """
    identity = _identity(QEMU_USER)
    if identity is None or readers is None:
        return identity
    return replace(identity, groups=(readers,))


async def layer_readers(pools: Pools) -> int | None:
    """The group that may read layers: that of libvirt's QEMU, or that of the programs here.

    Returns:
        None if layers are this process's user's, who is not root.
    """
    identity = qemu_identity()
    if identity is None:
        return None
    group = await pools.qemu_group()
    return identity.gid if group is None else group


def qemu_uid() -> int | None:
    """The uid of QEMU's programs; None if it is this process's."""
    identity = qemu_identity()
    return None if identity is None else identity.uid


def _identity(name: str) -> Identity | None:
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        user = pwd.getpwnam("nobody")
    return Identity(user.pw_uid, user.pw_gid, ())
