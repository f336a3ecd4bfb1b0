# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exit statuses of the virtlayer command: one table, for the code, its help and scripts."""

from enum import IntEnum

from virtlayer.errors import (
    AmbiguousKernel,
    Busy,
    Cancelled,
    DomainExists,
    DomainNotFound,
    HostUnavailable,
    ImageExists,
    ImageNotFound,
    InUse,
    InvalidArgument,
    InvalidReference,
    NoKernel,
    NoSpace,
    NoSuchJob,
    NotAuthorized,
    PlatformNotFound,
    PolicyRejected,
    PoolInactive,
    PoolNotFound,
    PoolUnavailable,
    RegistryAuth,
    RegistryUnavailable,
    ServiceUnavailable,
    UnknownOption,
    VirtlayerError,
    VolumeExists,
    VolumeNotFound,
)


class Exit(IntEnum):
    """An exit status; scripts rely on the numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    NO_SPACE = 6
    CONFLICT = 7
    CANCELLED = 130
    CONNECTION = 255


RUN_FAILED = 125
"""All failures of ``virtlayer run``, as of podman: other statuses are those of the program. Only a
lost connection to another host is none of them: the machine may run."""


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "any other error",
    Exit.USAGE: "invalid command, source or option",
    Exit.NOT_FOUND: "no such image, platform, pool, volume, machine, job or kernel",
    Exit.DENIED: "refused by the registry, the signature policy or this host",
    Exit.UNAVAILABLE: "registry, libvirt, pool or virtlayerd is unavailable; try again later",
    Exit.NO_SPACE: "the pool, the cache or the volume is full",
    Exit.CONFLICT: "the name is taken, or the object is in use",
    Exit.CANCELLED: "cancelled, by Ctrl-C or by another user",
    Exit.CONNECTION: "the connection to the host of --host failed or was lost, as of ssh",
}

_EXITS: dict[type[VirtlayerError], Exit] = {
    InvalidReference: Exit.USAGE,
    InvalidArgument: Exit.USAGE,
    UnknownOption: Exit.USAGE,
    AmbiguousKernel: Exit.USAGE,
    ImageNotFound: Exit.NOT_FOUND,
    PlatformNotFound: Exit.NOT_FOUND,
    PoolNotFound: Exit.NOT_FOUND,
    VolumeNotFound: Exit.NOT_FOUND,
    DomainNotFound: Exit.NOT_FOUND,
    NoSuchJob: Exit.NOT_FOUND,
    NoKernel: Exit.NOT_FOUND,
    RegistryAuth: Exit.DENIED,
    PolicyRejected: Exit.DENIED,
    NotAuthorized: Exit.DENIED,
    RegistryUnavailable: Exit.UNAVAILABLE,
    PoolInactive: Exit.UNAVAILABLE,
    PoolUnavailable: Exit.UNAVAILABLE,
    ServiceUnavailable: Exit.UNAVAILABLE,
    Busy: Exit.UNAVAILABLE,
    NoSpace: Exit.NO_SPACE,
    ImageExists: Exit.CONFLICT,
    VolumeExists: Exit.CONFLICT,
    DomainExists: Exit.CONFLICT,
    InUse: Exit.CONFLICT,
    Cancelled: Exit.CANCELLED,
    HostUnavailable: Exit.CONNECTION,
}


def exit_of(error: VirtlayerError) -> Exit:
    """Return the exit status for this error."""
    return _EXITS.get(type(error), Exit.FAILED)
