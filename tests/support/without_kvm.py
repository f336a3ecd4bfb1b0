# SPDX-License-Identifier: LGPL-2.1-or-later
"""A /dev without KVM, for a libvirtd in a mount namespace.

Where /dev/kvm can be opened and QEMU cannot use it, libvirt finds out anew at every start, and at
some later looks, what QEMU can do. That takes it 10 s of the processor.
"""

from pathlib import Path

_DEVICES = ("fuse", "full", "null", "ptmx", "random", "tty", "urandom", "zero")
_DIRECTORIES = ("net", "pts", "shm")
# libvirt starts no domain where something is mounted on /dev/kvm itself.
_SCRIPT = """
mkdir -p {place} && mount -t tmpfs tmpfs {place}
for name in {devices}; do if [ -e "/dev/$name" ]; then cp -a "/dev/$name" {place}; fi; done
for name in {directories}; do
    if [ -d "/dev/$name" ]; then
        mkdir "{place}/$name" && mount --bind "/dev/$name" "{place}/$name"
    fi
done
ln -s /proc/self/fd {place}/fd && mount --rbind {place} /dev
"""


def without_kvm(place: Path) -> str:
    """A shell script that gives its mount namespace a /dev without KVM.

    Args:
        place: A directory for it, which it makes; its path has no special characters.
    """
    devices, directories = " ".join(_DEVICES), " ".join(_DIRECTORIES)
    return _SCRIPT.format(place=place, devices=devices, directories=directories)
