# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kinds of pools that cannot hold chains, and what to use instead.

What each of them would need is in docs/decisions/kinds-of-pools.md.
"""

from collections.abc import Mapping

from virtlayer.errors import PoolUnsupported

_DEVICES = "Make a file system on the device, and a pool of type fs with it."
_ADVICE: Mapping[str, str] = {
    "logical": "Make a logical volume with a file system, and a pool of type fs with it.",
    "zfs": "Make a data set with a mount point, and a pool of type dir with it.",
    "disk": _DEVICES,
    "iscsi": _DEVICES,
    "iscsi-direct": _DEVICES,
    "scsi": _DEVICES,
    "mpath": _DEVICES,
    "gluster": "Define the same volume as a pool of type netfs, which libvirt mounts.",
    "vstorage": "Use a directory of the mounted cluster, as a pool of type dir.",
}


def refused_namespace(name: str, source: str) -> PoolUnsupported:
    """The error about an RBD pool in a RADOS namespace, which libvirt 11.3 cannot open.

    Args:
        name: The pool.
        source: The name of its source: pool and namespace.
    """
    pool = source.partition("/")[0]
    return PoolUnsupported(
        f'The pool "{name}" is in a RADOS namespace ("{source}"), which is not supported. Name a '
        f"pool of the cluster without a namespace in its <source>, such as <name>{pool}</name>."
    )


def refused(name: str, kind: str) -> PoolUnsupported:
    """The error about a pool of a type that virtlayer does not support.

    Args:
        name: The pool.
        kind: Its type.
    """
    advice = _ADVICE.get(kind, "Use a pool of type dir, fs, netfs or rbd.")
    return PoolUnsupported(
        f'The pool "{name}" is of type {kind}, whose volumes cannot form backing chains. {advice}'
    )
