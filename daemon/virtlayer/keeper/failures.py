# SPDX-License-Identifier: LGPL-2.1-or-later
"""Translates errors of libvirt and of the system about pools into our own errors.

The codes are libvirt's ``virErrorNumber``, the numbers in its ``int1`` the system's errno.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from virtlayer.errors import (
    Libvirt,
    NoSpace,
    NotAuthorized,
    PoolInactive,
    PoolNotFound,
    PoolUnsupported,
    VirtlayerError,
    VolumeExists,
    VolumeNotFound,
)
from virtlayer.keeper.binding import libvirt
from virtlayer.protocol.virsh import virsh

type LibvirtError = libvirt.libvirtError
type _Meaning = tuple[type[VirtlayerError], str]

_SHOWN = 200
"""Bytes that are shown on each side of a damaged character."""
_FULL = (errno.ENOSPC, errno.EDQUOT)

_BY_CODE: Mapping[str, _Meaning] = {
    "VIR_ERR_NO_STORAGE_POOL": (
        PoolNotFound,
        '"{virsh} pool-list --all" lists the pools.',
    ),
    "VIR_ERR_NO_STORAGE_VOL": (
        VolumeNotFound,
        '"{virsh} vol-list POOL" lists the volumes; "{virsh} pool-refresh POOL" finds new ones.',
    ),
    "VIR_ERR_STORAGE_VOL_EXIST": (
        VolumeExists,
        "Choose another name, or delete that volume first.",
    ),
    "VIR_ERR_OPERATION_DENIED": (
        Libvirt,
        "libvirt does not permit this to virtlayer-keeper: check the URI and libvirtd.conf.",
    ),
    "VIR_ERR_AUTH_FAILED": (
        Libvirt,
        "libvirt did not accept virtlayer-keeper: check the URI and libvirtd.conf.",
    ),
    "VIR_ERR_ACCESS_DENIED": (
        Libvirt,
        "The access rules of libvirt do not permit this to virtlayer-keeper.",
    ),
    "VIR_ERR_OPERATION_FAILED": (
        Libvirt,
        "See the log of libvirtd for the cause.",
    ),
}

_BY_CODE_IN_STORAGE: Mapping[str, _Meaning] = {
    "VIR_ERR_OPERATION_INVALID": (
        PoolInactive,
        'Start the pool with "{virsh} pool-start POOL".',
    ),
    "VIR_ERR_NO_SUPPORT": (
        PoolUnsupported,
        "Use a pool of type dir, fs or netfs.",
    ),
    "VIR_ERR_CONFIG_UNSUPPORTED": (
        PoolUnsupported,
        "Use a pool of type dir, fs or netfs.",
    ),
}


def translated(error: LibvirtError, uri: str) -> VirtlayerError:
    """Return the error of ours for a libvirt error.

    Args:
        error: Of libvirt's.
        uri: The connection, for the commands in the advice.
    """
    code = error.get_error_code()
    text = f"libvirt: {error.get_error_message() or error}".rstrip(".")
    if code == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() in _FULL:
        return NoSpace(f"{text}. Free some space in the pool, or use another pool.")
    known = _of(code, _BY_CODE)
    if error.get_error_domain() == libvirt.VIR_FROM_STORAGE:
        known = _of(code, _BY_CODE_IN_STORAGE) or known
    kind, advice = known or (Libvirt, "")
    return kind(f"{text}. {advice.format(virsh=virsh(uri))}".strip())


def undecodable(error: UnicodeDecodeError) -> Libvirt:
    """Return the error for text of libvirt that libvirt-python cannot decode.

    libvirt passes on the names of files in a pool and those in the headers of images as they are.
    """
    # The text is a name, or XML with a name in it.
    before = error.object[: error.start].rpartition(b">")[2][-_SHOWN:]
    after = error.object[error.start :].partition(b"<")[0][:_SHOWN]
    shown = (before + after).decode(errors="backslashreplace")
    return Libvirt(
        f'libvirt returned the name "{shown}", which is not valid UTF-8. Rename the file in the '
        "pool, or remove the image whose header has the name."
    )


def _of(code: int, table: Mapping[str, _Meaning]) -> _Meaning | None:
    return next((found for name, found in table.items() if getattr(libvirt, name) == code), None)


def says_busy(error: LibvirtError) -> bool:
    """Tell whether libvirt refuses only because it is creating or copying a volume of the pool.

    There is no code for it: libvirt 11 answers with VIR_ERR_INTERNAL_ERROR and this text.
    """
    return "asynchronous jobs running" in str(error)


def refused_by_system(error: OSError, pool_name: str, directory: Path) -> VirtlayerError:
    """Return the error for a failed system call in a pool's directory.

    Args:
        error: What the call raised.
        pool_name: The pool, for the message.
        directory: The pool's directory.
    """
    reason = error.strerror or str(error)
    place = f'the pool "{pool_name}" ({directory})'
    if error.errno in _FULL:
        return NoSpace(f"No space left in {place}. Free some space, or use another pool.")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE) and not directory.is_dir():
        return PoolInactive(
            f"The directory of {place} is missing. Restore it, then restart the pool."
        )
    # The unit makes the whole system read-only except for the usual directories of pools.
    if error.errno == errno.EROFS and os.geteuid() == 0:
        return NotAuthorized(
            f"virtlayer-keeper cannot write to {place}: {reason}. Mount it writable, or run "
            f'"systemctl edit virtlayer-keeper.service" and add "ReadWritePaths={directory}", see '
            "virtlayerd(8)."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotAuthorized(
            f"virtlayer-keeper cannot write to {place}: {reason}. Permit its user to write there, "
            "or use another pool."
        )
    return PoolUnsupported(f"Cannot write to {place}: {reason}.")
