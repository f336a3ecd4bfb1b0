# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the kernels of an image.

An image for bootc has ``/usr/lib/modules/VERSION/vmlinuz`` and ``initramfs.img`` next to it. Other
images have ``/boot/vmlinuz-VERSION``, and an initrd that is called as in Debian, Fedora, openSUSE
or Alpine. A name without a version, such as ``/vmlinuz``, is ignored: it is a symlink to one of
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from virtlayer.protocol.kernel_header import HEAD_READ, VERSION, kernel_version
from virtlayer.sizes import MIB
from virtlayer.worker.kernel.image_files import ImageFiles
from virtlayer.worker.kernel.unusable import Unusable
from virtlayer.worker.tree import DIRECTORY

FILE_LIMIT = 256 * MIB
"""Bytes of a kernel or of an initrd."""
_KERNELS_LIMIT = 64
_MODULES = (b"usr/lib/modules", b"lib/modules")
_BOOT, _PREFIX = b"boot", b"vmlinuz-"
_RESCUE = b"vmlinuz-0-rescue-"
"""How Fedora calls a copy of a kernel; its modules are those of the original."""
_INITRDS = (
    b"boot/initrd.img-%b",
    b"boot/initramfs-%b.img",
    b"boot/initrd-%b",
    b"boot/initramfs-%b",
)


@dataclass(frozen=True, slots=True)
class FoundKernel:
    """A kernel of an image.

    Attributes:
        version: Its version.
        kernel: The path of its file.
        initrd: The path of its initrd; None if there is none.
        modules: The path of the directory of its modules; None if there is none.
    """

    version: str
    kernel: bytes
    initrd: bytes | None
    modules: bytes | None


def found_kernels(files: ImageFiles) -> list[FoundKernel]:
    """Return the kernels of an image, by version; their files may turn out to be unusable.

    Raises:
        Unusable: There are too many.
    """
    found: dict[str, FoundKernel] = {}
    for kernel in (*_next_to_modules(files), *_in_boot(files)):
        found.setdefault(kernel.version, kernel)
        if len(found) > _KERNELS_LIMIT:
            raise Unusable(f"has more than {_KERNELS_LIMIT} kernels")
    return [found[version] for version in sorted(found)]


def _next_to_modules(files: ImageFiles) -> Iterator[FoundKernel]:
    for name in files.names(_MODULES[0]):
        directory = _MODULES[0] + b"/" + name
        version = _version(name)
        if version and b"vmlinuz" in files.names(directory):
            kernel, initrd = directory + b"/vmlinuz", directory + b"/initramfs.img"
            own = initrd if files.find(initrd) else _initrd(files, name)
            yield FoundKernel(version, kernel, own, directory)


def _in_boot(files: ImageFiles) -> Iterator[FoundKernel]:
    for name in files.names(_BOOT):
        suffix = name.removeprefix(_PREFIX)
        version = _version(suffix)
        if suffix == name or not version or name.startswith(_RESCUE):
            continue
        kernel, modules = _BOOT + b"/" + name, _modules(files, suffix)
        if modules is None and (inner := _version_in(files, kernel)):
            # Alpine calls a kernel after its flavour.
            modules = _modules(files, inner.encode())
            version = version if modules is None else inner
        yield FoundKernel(version, kernel, _initrd(files, suffix), modules)


def _initrd(files: ImageFiles, suffix: bytes) -> bytes | None:
    return next((path % suffix for path in _INITRDS if files.find(path % suffix)), None)


def _modules(files: ImageFiles, version: bytes) -> bytes | None:
    for parent in _MODULES:
        child = files.find(parent + b"/" + version)
        if child is not None and child.kind == DIRECTORY:
            return parent + b"/" + version
    return None


def _version_in(files: ImageFiles, kernel: bytes) -> str:
    try:
        node = files.file(kernel, FILE_LIMIT)
    except Unusable:
        return ""
    head = next(files.tree.pieces(node), b"")
    return kernel_version(head[:HEAD_READ])


def _version(name: bytes) -> str:
    version = name.decode("ascii", "replace")
    return version if VERSION.fullmatch(version) else ""
