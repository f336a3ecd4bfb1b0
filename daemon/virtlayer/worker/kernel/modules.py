# SPDX-License-Identifier: LGPL-2.1-or-later
"""Chooses the modules of our initrd, and finds the order in which they are loaded.

What a module needs is read in the module itself. ``modules.dep`` says the same, but packages lack
it until depmod(8) has run, and an image can have a wrong one: it is not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from virtlayer.sizes import MIB, human_size
from virtlayer.worker.kernel.compression import MODULE_LIMIT, SUFFIXES, CannotUnpack, unpacked
from virtlayer.worker.kernel.modinfo import NotAModule, needed_modules
from virtlayer.worker.kernel.module_tree import ModuleTree
from virtlayer.worker.kernel.unusable import Incomplete, Unusable, about
from virtlayer.worker.problems import quoted

_REQUIRED = ("virtio_pci", "virtio_blk", "virtio_console", "ext4")
"""Without them our init has no disk, no root file system or no streams."""
_WANTED = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_rng"),
    # ext4 asks for a checksum by the name of an algorithm, which is not among what it needs.
    *("crc32c_generic", "ext4"),
    *("button", "evdev"),
    # Reports a panic to QEMU, so that libvirt has the machine as crashed.
    "pvpanic_mmio",
    # The DHCP client's sockets.
    "af_packet",
)
_BUILT_IN = "modules.builtin"
_BUILT_IN_LIMIT = 4 * MIB
_TOTAL_LIMIT = 64 * MIB
_NUMBER_LIMIT = 128
_UPDATES = "updates/"
"""A module in this directory replaces one of the same name in the others (depmod.d(5))."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module of our initrd.

    Attributes:
        file: The name of its file, without a suffix of compression.
        content: Its content, decompressed.
    """

    file: str
    content: bytes


def boot_modules(tree: ModuleTree) -> list[Module]:
    """Return the modules that our init loads, in the order of loading.

    Args:
        tree: The modules of the kernel.

    Raises:
        Incomplete: The kernel has no driver for the disk or for the ports of a machine.
        Unusable: A module is damaged or too large, or needs one that is missing.
    """
    return list(_Selection(tree).modules())


class _Selection:
    """The modules that are chosen so far."""

    def __init__(self, tree: ModuleTree) -> None:
        self._tree = tree
        self._paths = _paths_by_name(tree)
        self._built_in = _built_in(tree)
        self._done: set[str] = set()
        self._total = 0

    def modules(self) -> Iterator[Module]:
        for name in _WANTED:
            if name in self._paths:
                yield from self._with_needed(name, ())
            elif name in _REQUIRED and self._built_in is not None and name not in self._built_in:
                raise Incomplete(f'has no driver "{name}", which a virtual machine requires')

    def _with_needed(self, name: str, needing: tuple[str, ...]) -> Iterator[Module]:
        if name in self._done:
            return
        if name in needing:
            raise Unusable(f"has modules that need each other: {_shown((*needing, name))}")
        if len(needing) + len(self._done) >= _NUMBER_LIMIT:
            raise Unusable(f"has drivers that need more than {_NUMBER_LIMIT} modules")
        path = self._paths[name]
        content = self._content(path)
        try:
            needed = needed_modules(content)
        except NotAModule as error:
            raise about(path, str(error)) from error
        for other in map(_normalized, needed):
            if other not in self._paths:
                raise about(path, f"the module {quoted(other.encode())} that it needs is missing")
            yield from self._with_needed(other, (*needing, name))
        self._done.add(name)
        yield Module(_file_name(path), content)

    def _content(self, path: str) -> bytes:
        data = self._tree.read(path, MODULE_LIMIT)
        if data is None:
            raise about(path, "it does not exist")
        try:
            content = unpacked(path, data)
        except CannotUnpack as error:
            raise about(path, str(error)) from error
        self._total += len(content)
        if self._total > _TOTAL_LIMIT:
            raise Unusable(f"has drivers of more than {human_size(_TOTAL_LIMIT)}")
        return content


def _paths_by_name(tree: ModuleTree) -> dict[str, str]:
    found: dict[str, str] = {}
    # Sorted: the same modules are chosen in whatever order a directory lists them.
    for path in sorted(tree.paths(), key=lambda path: (not path.startswith(_UPDATES), path)):
        if path.endswith(SUFFIXES):
            found.setdefault(_name_of(path), path)
    return found


def _built_in(tree: ModuleTree) -> frozenset[str] | None:
    """The names of the drivers that are a part of the kernel; None if that is unknown."""
    text = tree.read(_BUILT_IN, _BUILT_IN_LIMIT)
    if text is None:
        return None
    return frozenset(map(_name_of, text.decode("ascii", "replace").split()))


def _file_name(path: str) -> str:
    name = path.rpartition("/")[2]
    return f"{name.partition('.ko')[0]}.ko"


def _name_of(path: str) -> str:
    return _normalized(_file_name(path).removesuffix(".ko"))


def _normalized(name: str) -> str:
    """The name of a module, as the kernel has it: files may be called differently."""
    return name.replace("-", "_")


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(quoted(name.encode()) for name in names[:10])
