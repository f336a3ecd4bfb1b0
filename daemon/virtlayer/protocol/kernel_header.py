# SPDX-License-Identifier: LGPL-2.1-or-later
"""Recognizes a Linux kernel that QEMU can load, by its first bytes.

In the kernel's documentation: arch/x86/boot.rst, arch/arm64/booting.rst,
arch/riscv/boot-image-header.rst.
"""

from __future__ import annotations

import re
import struct

HEAD_READ = 64 * 1024
"""How many of a kernel's first bytes are looked at."""

_BOOT_FLAG_AT, _BOOT_FLAG = 0x1FE, b"\x55\xaa"
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_PROTOCOL = struct.Struct("<H")
_PROTOCOL_AT, _VERSION_AT = 0x206, 0x20E
_LOADS_HIGH_AT, _LOADS_HIGH = 0x211, 1
_OLDEST = 0x0200
_SETUP = 0x200
_SIGNATURES = {
    "aarch64": ((0x38, b"ARM\x64"), (0, b"\x1f\x8b"), (4, b"zimg")),
    "riscv64": ((0x38, b"RSC\x05"), (0, b"\x1f\x8b"), (4, b"zimg")),
    "ppc64le": ((0, b"\x7fELF"),),
    "s390x": ((0x10008, b"S390EP"), (0, b"\x7fELF")),
}
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
"""The version of a kernel, which is a part of the names of its files."""


def kernel_problem(head: bytes, machine: str) -> str:
    """Return why a file is not a kernel for a machine, as the end of a sentence; "" if it is one.

    Args:
        head: Its first ``HEAD_READ`` bytes, or all.
        machine: The architecture, as uname(2) calls it.
    """
    if machine == "x86_64":
        return _bzimage_problem(head)
    signatures = _SIGNATURES.get(machine)
    if signatures is None:
        return f"kernels for {machine} are not supported"
    if any(head[at:].startswith(magic) for at, magic in signatures):
        return ""
    return f"it is not a Linux kernel for {machine}"


def kernel_version(head: bytes) -> str:
    """Return the version that a kernel for x86 has in its header; "" if there is none.

    Args:
        head: Its first ``HEAD_READ`` bytes, or all.
    """
    if _bzimage_problem(head):
        return ""
    offset = _PROTOCOL.unpack_from(head, _VERSION_AT)[0]
    text = head[offset + _SETUP : offset + _SETUP + 256] if offset else b""
    version = text.partition(b"\0")[0].partition(b" ")[0].decode("ascii", "replace")
    return version if VERSION.fullmatch(version) else ""


def _bzimage_problem(head: bytes) -> str:
    if head[_BOOT_FLAG_AT:].startswith(_BOOT_FLAG) and head[_MAGIC_AT:].startswith(_MAGIC):
        if len(head) <= _LOADS_HIGH_AT or _PROTOCOL.unpack_from(head, _PROTOCOL_AT)[0] < _OLDEST:
            return "its header is cut off or of an unknown version"
        if not head[_LOADS_HIGH_AT] & _LOADS_HIGH:
            return "it is a zImage, not a bzImage"
        return ""
    if head.startswith(b"MZ"):
        return (
            "it is a program for EFI, such as a unified kernel image, which is not supported in "
            "this edition"
        )
    return "it is not a Linux kernel for x86_64 (bzImage)"
