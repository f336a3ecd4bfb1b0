# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine without an operating system: its boot sector writes lines to the first serial line."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.defined_machines import METADATA
from tests.support.libvirt_host import LibvirtHost

UUID = "0b007ed0-0000-4000-8000-000000000001"
NO_POOL = "00000000-0000-0000-0000-000000000000"
_PROGRAM = """
    .code16
    .globl _start
_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7c00, %sp
    xorl %ebx, %ebx
next:
    movl %ebx, %eax
    movw $digits + 5, %di
    movw $6, %cx
    movl $10, %esi
digit:
    xorl %edx, %edx
    divl %esi
    addb $'0', %dl
    movb %dl, (%di)
    decw %di
    loop digit
    movw $line, %si
write:
    lodsb
    testb %al, %al
    jz written
    movb %al, %cl
    movw $0x3fd, %dx
busy:
    inb %dx, %al
    testb $0x20, %al
    jz busy
    movb %cl, %al
    movw $0x3f8, %dx
    outb %al, %dx
    jmp write
written:
    incl %ebx
    cmpl $LINES, %ebx
    jb next
    movw $0x604, %dx
    movw $0x2000, %ax
    outw %ax, %dx
halt:
    hlt
    jmp halt
line:
    .ascii "line "
digits:
    .asciz "000000\\n"
    .org 510
    .word 0xaa55
"""
_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
{metadata}
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'>
      <log file='/var/log/libvirt/qemu/virtlayer-{uuid}.console' append='on'/>
    </serial>
  </devices>
</domain>
"""


def expected_lines(number: int) -> list[str]:
    """Return what it writes."""
    return [f"line {one:06}" for one in range(number)]


@contextlib.contextmanager
def boot_sector_machine(
    host: LibvirtHost, name: str, directory: Path, *, lines: int
) -> Iterator[None]:
    """A defined machine that writes lines and powers off; it no longer exists afterwards.

    Args:
        host: Its libvirtd.
        name: Its name.
        directory: For the files to build it.
        lines: How many it writes.
    """
    source, compiled = directory / "boot.s", directory / "boot.o"
    disk = host.directory / f"{name}.raw"
    source.write_text(_PROGRAM, encoding="ascii")
    _run("as", "--32", f"--defsym=LINES={lines}", "-o", compiled, source)
    _run("ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary", "-o", disk, compiled)
    # The firmware does not boot from a disk of one sector.
    os.truncate(disk, 2**20)
    disk.chmod(0o666)
    metadata = METADATA.format(image="demo", digest="", pool=NO_POOL, volume=disk.name)
    description = directory / "domain.xml"
    description.write_text(_DOMAIN.format(name=name, uuid=UUID, metadata=metadata, disk=disk))
    host.virsh("define", str(description))
    try:
        yield
    finally:
        for command in ("destroy", "undefine"):
            with contextlib.suppress(AssertionError):
                host.virsh(command, name)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
