# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian with systemd, a kernel and its initrd, as the archive of a layer.

It is made once by mmdebstrap, which takes a minute, and kept in ``.cache/`` of the checkout.
"""

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.support.cache import kept

_SUITE = "trixie"
_PACKAGES = "systemd-sysv,udev,dbus,linux-image-cloud-amd64,initramfs-tools,kmod"
_UNIT = b"""\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c 'echo "init $$(cat /proc/1/comm) kernel $$(uname -r) root $$(stat -fc %%T /)"'
ExecStart=/bin/systemctl poweroff
[Install]
WantedBy=multi-user.target
"""
_NAME = "etc/systemd/system/booted.service"
_WANTED = "etc/systemd/system/multi-user.target.wants/booted.service"


def debian_tree(place: Callable[[str], str | None] = lambda name: name) -> bytes:
    """An archive of it, which writes a line to its first serial line and turns itself off.

    Args:
        place: Returns another name for a file, or None to leave the file out.
    """
    archive = kept("debian-with-kernel.tar", _make)
    buffer = io.BytesIO()
    with tarfile.open(archive) as given, tarfile.open(fileobj=buffer, mode="w") as made:
        for member in given:
            name = place(member.name.removeprefix("./"))
            if name is not None:
                member.name = name
                made.addfile(member, given.extractfile(member) if member.isreg() else None)
        unit, wanted = tarfile.TarInfo(_NAME), tarfile.TarInfo(_WANTED)
        unit.size = len(_UNIT)
        made.addfile(unit, io.BytesIO(_UNIT))
        wanted.type, wanted.linkname = tarfile.SYMTYPE, f"/{_NAME}"
        made.addfile(wanted)
    return buffer.getvalue()


def _make(directory: Path) -> Path:
    made = directory / "debian.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}"]
    subprocess.run([*command, _SUITE, made], check=True)
    return made
