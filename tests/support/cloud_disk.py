# SPDX-License-Identifier: LGPL-2.1-or-later
"""The disk of a Debian with cloud-init, which a machine boots by GRUB, as clouds publish disks.

Nothing is mounted: GRUB is written in front of the only partition, whose file system is made of a
directory.
"""

import hashlib
import subprocess
from pathlib import Path

from tests.support.cache import kept
from tests.support.mmdebstrap import debian_archive

_COMMANDS = (
    "apt-get update",
    (
        "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
        " systemd-sysv systemd-resolved udev dbus iproute2 openssh-server cloud-init"
        " linux-image-cloud-amd64 initramfs-tools grub-pc-bin grub-common"
    ),
    (
        "printf 'set root=(hd0,msdos1)\\nlinux /vmlinuz root=/dev/vda1 rw console=ttyS0\\n"
        "initrd /initrd.img\\nboot\\n' >/boot/first.cfg"
    ),
    (
        "grub-mkimage --format=i386-pc --prefix=/boot/grub --config=/boot/first.cfg"
        " --output=/boot/core.img biosdisk part_msdos ext2 linux boot"
    ),
    "cp /usr/lib/grub/i386-pc/boot.img /boot",
    "systemctl enable systemd-networkd",
    "rm -f /etc/ssh/ssh_host_* && apt-get clean",
)
_SECTOR = 512
_BOOT_CODE = 440
"""Bytes in front of the disk's signature and the table of partitions."""
_START = 1 << 20
"""Bytes in front of the partition, as usual."""
_SIZE = 1 << 30
"""Of the partition, in bytes."""
_TABLE = 446
_LINUX = 0x83


def cloud_disk() -> bytes:
    """Return the disk, in the format qcow2; it is kept in ``.cache/`` of the checkout."""
    digest = hashlib.sha256("\0".join(_COMMANDS).encode()).hexdigest()
    return kept(f"cloud-disk-{digest[:16]}.qcow2", _make).read_bytes()


def _make(directory: Path) -> Path:
    archive = debian_archive("trixie", *_COMMANDS)
    tree, disk, packed = (directory / name for name in ("tree", "disk", "disk.qcow2"))
    tree.mkdir()
    # As root, tar keeps owners and modes.
    unpack = ("tar", "--extract", "--numeric-owner", "--directory", tree)
    subprocess.run(unpack, check=True, input=archive)
    with disk.open("xb") as file:
        file.truncate(_START + _SIZE)
    make = ("mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", f"offset={_START}", disk)
    subprocess.run([*make, f"{_SIZE >> 10}K"], check=True, stdin=subprocess.DEVNULL)
    with disk.open("r+b") as file:
        file.write((tree / "boot/boot.img").read_bytes()[:_BOOT_CODE])
        file.seek(_TABLE)
        file.write(_partition() + bytes(48) + b"\x55\xaa")
        file.write((tree / "boot/core.img").read_bytes())
        assert file.tell() <= _START, "GRUB is in the partition"
    convert = ("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", disk, packed)
    subprocess.run(convert, check=True, stdin=subprocess.DEVNULL)
    return packed


def _partition() -> bytes:
    """The entry of an active partition, without addresses of cylinders."""
    addresses = (_START // _SECTOR).to_bytes(4, "little") + (_SIZE // _SECTOR).to_bytes(4, "little")
    return bytes([0x80, 0, 0, 0, _LINUX, 0, 0, 0]) + addresses
