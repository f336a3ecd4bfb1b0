# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine that this host's processor can run: its type, and its first serial line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from virtlayer.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Architecture:
    """What depends on the architecture.

    Attributes:
        name: libvirt's name.
        machine: The machine type.
        console: The kernel's name of the first serial line.
        needs_firmware: Whether a disk boots by UEFI only.
        has_bios: Whether machines have a BIOS that reboots if it finds no disk.
        has_panic_device: Whether the machine type has a device that reports a kernel's panic.
    """

    name: str
    machine: str
    console: str
    needs_firmware: bool = False
    has_bios: bool = False
    has_panic_device: bool = False


_KNOWN: Mapping[str, Architecture] = {
    one.name: one
    for one in (
        Architecture("x86_64", "q35", "ttyS0", has_bios=True, has_panic_device=True),
        Architecture("aarch64", "virt", "ttyAMA0", needs_firmware=True),
        Architecture("riscv64", "virt", "ttyS0", needs_firmware=True),
        Architecture("ppc64le", "pseries", "hvc0"),
        Architecture("s390x", "s390-ccw-virtio", "ttysclp0"),
    )
}


def host_architecture() -> Architecture:
    """The architecture of this host.

    Raises:
        Unsupported: virtlayer makes no machines on it.
    """
    name = os.uname().machine
    try:
        return _KNOWN[name]
    except KeyError:
        raise Unsupported(
            f"virtlayer makes no machines on {name}, only on {', '.join(_KNOWN)}."
        ) from None
