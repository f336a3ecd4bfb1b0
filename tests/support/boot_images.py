# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that have a kernel, and what the workers make of one."""

import io
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.images import Entry, directory, file
from tests.support.kernel import debian_kernel

VERSION = "6.1.0-test"
"""Of the kernels that only look like one."""


def small_kernel(version: str = VERSION, *, size: int = 8192) -> bytes:
    """A file with the header of a bzImage, which no machine could boot."""
    head = bytearray(size)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    head[0x206:0x208] = struct.pack("<H", 0x020F)
    head[0x20E:0x210] = struct.pack("<H", 0x400)
    head[0x211] = 1
    # The highest address of an initrd: QEMU refuses to load one above it.
    head[0x22C:0x230] = struct.pack("<I", 0x7FFFFFFF)
    text = f"{version} (builder@example) #1 SMP\0".encode()
    head[0x600 : 0x600 + len(text)] = text
    return bytes(head)


def kernel_that_powers_off(version: str = VERSION) -> bytes:
    """A kernel that ends the machine after a second, by a write into the ACPI registers of a q35.

    Earlier, libvirt may still be busy with the start, which fails then.
    """
    kernel = bytearray(small_kernel(version))
    kernel[0x200:0x202] = b"\xeb\x66"  # jump over the header
    code = (
        b"\xb9\x02\x00"  # mov cx, 2: so often, the seconds of the real-time clock change
        b"\xb0\x00\xe6\x70\xe4\x71\x88\xc3"  # mov al, 0; out 0x70, al; in al, 0x71; mov bl, al
        b"\xb0\x00\xe6\x70\xe4\x71\x38\xd8"  # the same; cmp al, bl
        b"\x74\xf6\xe2\xec"  # je -10; loop -20
        b"\xba\x04\x06\xb8\x00\x20\xef\xf4"  # mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt
    )
    kernel[0x268 : 0x268 + len(code)] = code
    return bytes(kernel)


def small_module(needs: Iterable[str] = ()) -> bytes:
    """An ELF file with the section that says which modules a module needs."""
    info = b"license=GPL\0depends=" + ",".join(needs).encode() + b"\0"
    names = b"\0.modinfo\0.shstrtab\0"
    offset = 64
    sections = [
        (0, 0, 0, 0),
        (1, 1, offset, len(info)),
        (10, 3, offset + len(info), len(names)),
    ]
    table = offset + len(info) + len(names)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, len(sections), 2)
    headers = b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, start, length, 0, 0, 1, 0)
        for name, kind, start, length in sections
    )
    return head + info + names + headers


def built_in(*modules: str) -> bytes:
    """The file modules.builtin, which has the other drivers that a machine requires."""
    names = ("virtio_pci", "virtio_blk", "virtio_console", "ext4", *modules)
    return "".join(f"kernel/drivers/{name}.ko\n" for name in names).encode()


def modules(
    contents: Mapping[str, bytes], *, version: str = VERSION, parent: str = "usr/lib/modules"
) -> list[Entry]:
    """The directory of modules of a kernel.

    Args:
        contents: By the paths in that directory.
        version: The kernel.
        parent: The directory of all modules.
    """
    top = f"{parent}/{version}"
    paths = {f"{top}/{path}": content for path, content in contents.items()}
    parents = {str(parent) for path in paths for parent in Path(path).parents} - {"."}
    made = [directory(path) for path in sorted(parents | set(_parents(top)) | {top})]
    return made + [file(path, content) for path, content in paths.items()]


def debian_files() -> list[Entry]:
    """The kernel of Debian with its modules, as its package has them."""
    kernel = debian_kernel()
    version = kernel.modules.name
    contents = {
        str(path.relative_to(kernel.modules)): path.read_bytes()
        for path in kernel.modules.rglob("*")
        if path.is_file()
    }
    entries = [directory("boot"), file(f"boot/vmlinuz-{version}", kernel.image.read_bytes())]
    return entries + modules(contents, version=version)


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of the members of an initrd, in order."""
    stream = io.BytesIO(archive)
    found: dict[str, tuple[int, bytes]] = {}
    while True:
        header = stream.read(110)
        assert header.startswith(b"070701")
        fields = [int(header[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
        name = stream.read(fields[11])[:-1].decode()
        _skip(stream)
        content = stream.read(fields[6])
        _skip(stream)
        if name == "TRAILER!!!":
            return found
        assert (fields[2], fields[3], fields[5]) == (0, 0, 0), "owner, group or time is not 0"
        found[name] = (fields[1], content)


def _skip(stream: io.BytesIO) -> None:
    stream.seek(-stream.tell() % 4, io.SEEK_CUR)


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents if str(parent) != "."]
