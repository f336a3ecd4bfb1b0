# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Linux kernel of Debian for machines to boot from, and an initramfs that hands over to a disk.

Nothing is installed: the package is downloaded and unpacked once, into ``.cache/`` of the checkout.
"""

import lzma
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.cache import kept

_NEWEST = "linux-image-cloud-amd64"
"""Depends on the newest kernel for virtual machines, which has few drivers and starts quickly."""

_DRIVERS = ("virtio_pci", "virtio_blk", "ext4")
_BUSYBOX = Path("/bin/busybox")
_INIT = """\
#!/bin/busybox sh
set -e
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
mode=rw
init=/sbin/init
for word in $(/bin/busybox cat /proc/cmdline); do
  case $word in
    init=*) init=${{word#init=}};;
    ro) mode=ro;;
  esac
done
/bin/busybox umount /proc
for module in {modules}; do /bin/busybox insmod /$module.ko; done
/bin/busybox mount -t ext4 -o $mode /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root -c /dev/console /root "$init" "$@"
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package.

    Attributes:
        image: What a boot loader loads.
        modules: The directory of its modules.
    """

    image: Path
    modules: Path


def debian_kernel() -> Kernel:
    """The kernel in the cache; the first call downloads it (35 MB)."""
    unpacked = kept("kernel", _make)
    [image] = unpacked.glob("boot/vmlinuz-*")
    [modules] = unpacked.glob("usr/lib/modules/*")
    return Kernel(image, modules)


def initramfs(kernel: Kernel) -> bytes:
    """An archive with what it takes to go on with the ext4 on /dev/vda.

    It obeys ``ro`` and ``init=`` (otherwise /sbin/init), with the arguments after ``--``. As that
    of Debian's initramfs-tools, it looks for these words everywhere, also in quotes and after
    ``--``.

    In the kernel's documentation: driver-api/early-userspace/buffer-format.rst.
    """
    modules = dict(_modules(kernel, _DRIVERS))
    init = _INIT.format(modules=" ".join(modules))
    members = [_member(name, 0o40755) for name in ("bin", "dev", "proc", "root")]
    members.append(_member("bin/busybox", 0o100755, _BUSYBOX.read_bytes()))
    members.append(_member("init", 0o100755, init.encode()))
    members += [_member(f"{name}.ko", 0o100644, data) for name, data in modules.items()]
    return b"".join([*members, _member("TRAILER!!!", 0)])


def guest_initrd(kernel: Kernel, init: Path, drivers: Iterable[str]) -> bytes:
    """An archive with the init of daemon/virtlayer/guest, busybox and these drivers."""
    modules = dict(_modules(kernel, drivers))
    listed = "".join(f"/lib/{name}.ko\n" for name in modules)
    members = [_member(name, 0o40755) for name in ("bin", "lib", "newroot")]
    members.append(_member("init", 0o100755, init.read_bytes()))
    members.append(_member("bin/busybox", 0o100755, _BUSYBOX.read_bytes()))
    members.append(_member("modules", 0o100644, listed.encode()))
    members += [_member(f"lib/{name}.ko", 0o100644, data) for name, data in modules.items()]
    return b"".join([*members, _member("TRAILER!!!", 0)])


def _make(directory: Path) -> Path:
    relations = _run("apt-cache", "depends", "--important", _NEWEST)
    package = re.search(r"Depends: (linux-image-\S+)", relations)
    assert package, relations
    _run("apt-get", "--quiet", "download", package[1], cwd=directory)
    [downloaded] = directory.glob("*.deb")
    _run("dpkg-deb", "--extract", downloaded, directory / "kernel")
    return directory / "kernel"


def _modules(kernel: Kernel, drivers: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The drivers that are not a part of the kernel itself, each after those that it needs."""
    built_in = (kernel.modules / "modules.builtin").read_text()
    for driver in drivers:
        if f"/{driver}.ko\n" in built_in:
            continue
        [path] = kernel.modules.rglob(f"{driver}.ko.xz")
        module = lzma.decompress(path.read_bytes())
        # depmod writes modules.dep where a package is installed; this one is not.
        needed = re.search(rb"\0depends=([^\0]*)\0", module)
        assert needed, f"{path} does not say which modules it needs"
        yield from _modules(kernel, filter(None, needed[1].decode().split(",")))
        yield driver, module


def _member(name: str, mode: int, data: bytes = b"") -> bytes:
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    header = "070701" + "".join(f"{value:08x}" for value in fields) + name + "\0"
    return _padded(header.encode()) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    hint = '"apt-get update" helps where the lists of apt are missing or old.'
    assert done.returncode == 0, f"{command}: {done.stderr}{hint}"
    return done.stdout
