# SPDX-License-Identifier: LGPL-2.1-or-later
"""Chooses the kernel of a machine among those of an image."""

from dataclasses import dataclass
from pathlib import Path

from virtlayer.errors import AmbiguousKernel, NoKernel
from virtlayer.protocol.names import ImageName
from virtlayer.service.records.values import BootKernel, BootRecord

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChoice:
    """What a caller says about the kernel of a machine.

    Attributes:
        kernel: A file of the host, or an image that has a kernel; None for the default.
        version: Selects one of several kernels; None if there is only one.
        starts_init: Whether the machine starts the init of its image; None if it names no program:
            then it does if the image has /sbin/init.
    """

    kernel: Path | ImageName | None = None
    version: str | None = None
    starts_init: bool | None = None


def chosen_kernel(kernels: BootRecord, version: str | None, image: str) -> BootKernel:
    """Return the kernel of an image that boots a machine.

    Args:
        kernels: The kernels of the image, at least one.
        version: The version that the caller has chosen; None if none.
        image: The name of the image, for errors.

    Raises:
        NoKernel: The image has no kernel of that version.
        AmbiguousKernel: The image has several, and none was chosen.
    """
    versions = ", ".join(kernel.version for kernel in kernels.kernels[:_SHOWN])
    if version is not None:
        if (found := kernels.kernel(version)) is not None:
            return found
        raise NoKernel(f'The image "{image}" has no kernel {version}. It has: {versions}.')
    if len(kernels.kernels) > 1:
        raise AmbiguousKernel(
            f'The image "{image}" has {len(kernels.kernels)} kernels: {versions}. Choose one with '
            'the option "kernel-version".'
        )
    return kernels.kernels[0]


def check_modules(kernel: BootKernel, image: str) -> None:
    """Check that a kernel of an image can have our initrd.

    Raises:
        NoKernel: The image does not have its modules.
    """
    if not kernel.has_modules:
        raise NoKernel(
            f'The image "{image}" has the kernel {kernel.version}, but not its modules '
            f"(/usr/lib/modules/{kernel.version}), so it cannot boot a machine without an initrd "
            'of its own. Choose another kernel with the option "kernel".'
        )
