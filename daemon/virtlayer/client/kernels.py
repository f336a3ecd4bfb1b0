# SPDX-License-Identifier: LGPL-2.1-or-later
"""The newest kernel of this host, for a machine to boot with, as its distribution installs it."""

import re
from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import NoKernel

_BOOT = Path("/boot")
_INITRDS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}")
"""As Debian, Fedora and openSUSE name them."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, and what it starts with.

    Attributes:
        image: Its file.
        initrd: The file of the initial file system; None for none.
    """

    image: Path
    initrd: Path | None


def newest_kernel(directory: Path = _BOOT) -> Kernel:
    """The kernel with the highest version in a directory, with its initrd if it has one.

    Raises:
        NoKernel: There is none.
    """
    images = sorted(directory.glob("vmlinuz-*"), key=_version)
    if not images:
        raise NoKernel(
            f"No kernel found in {directory} (vmlinuz-VERSION). Specify --kernel and --initrd."
        )
    version = images[-1].name.removeprefix("vmlinuz-")
    candidates = (directory / name.format(version) for name in _INITRDS)
    return Kernel(images[-1], next((path for path in candidates if path.exists()), None))


def _version(path: Path) -> list[tuple[int, str]]:
    """The parts of a version; numbers count as numbers."""
    return [(int(part or 0), word) for part, word in re.findall(r"(\d+)|(\D+)", path.name)]
