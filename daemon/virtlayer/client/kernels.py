# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the newest kernel of this host that its distribution has installed."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import NoKernel
from virtlayer.host_kernels import version_order

_BOOT = Path("/boot")
_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}")
"""Names of the files in Debian, Fedora and openSUSE."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel with its initial file system.

    Attributes:
        image: Its file.
        initrd: The file of the initial file system; None for none.
    """

    image: Path
    initrd: Path | None


def newest_kernel(directory: Path = _BOOT) -> Kernel:
    """Return the kernel with the highest version in a directory, with its initrd if it has one.

    Raises:
        NoKernel: There is none.
    """
    images = sorted(directory.glob("vmlinuz-*"), key=lambda path: version_order(path.name))
    if not images:
        raise no_kernel(directory)
    version = images[-1].name.removeprefix("vmlinuz-")
    candidates = (directory / name.format(version) for name in _INITRDS)
    return Kernel(images[-1], next((path for path in candidates if path.exists()), None))


def no_kernel(directory: Path = _BOOT) -> NoKernel:
    """Return the error for a host without a kernel."""
    return NoKernel(
        f"No kernel found in {directory} (vmlinuz-VERSION). Specify --kernel and --initrd."
    )
