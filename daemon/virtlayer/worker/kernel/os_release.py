# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the libosinfo id of an operating system by its os-release(5).

Only the ids of osinfo-db whose rule is certain are given. Nothing of the file is copied but digits
and dots of a version, so that no markup of an image gets into the description of a domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PATHS = (b"etc/os-release", b"usr/lib/os-release")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")
_LINE = re.compile(rb"([A-Z][A-Z0-9_]*)=([\"']?)([A-Za-z0-9._-]*)\2")

_PARTS: Mapping[str, tuple[str, int]] = {
    "debian": ("http://debian.org/debian/{}", 1),
    "ubuntu": ("http://ubuntu.com/ubuntu/{}", 2),
    "fedora": ("http://fedoraproject.org/fedora/{}", 1),
    "rhel": ("http://redhat.com/rhel/{}", 2),
    "almalinux": ("http://almalinux.org/almalinux/{}", 1),
    "rocky": ("http://rockylinux.org/rocky/{}", 1),
    "ol": ("http://oracle.com/ol/{}", 2),
    "opensuse-leap": ("http://opensuse.org/opensuse/{}", 2),
    "alpine": ("http://alpinelinux.org/alpinelinux/{}", 2),
    "nixos": ("http://nixos.org/nixos/{}", 2),
}
"""By the field ID: the id of osinfo-db, and how many parts of VERSION_ID belong to it."""
_ROLLING: Mapping[str, str] = {
    "arch": "http://archlinux.org/archlinux/rolling",
    "gentoo": "http://gentoo.org/gentoo/rolling",
    "opensuse-tumbleweed": "http://opensuse.org/opensuse/tumbleweed",
}
_CENTOS, _CENTOS_STREAM = "centos", "http://centos.org/centos-stream/{}"
_STREAM_ONLY = ("9", "10")
"""Versions of CentOS that exist as CentOS Stream only."""

OS_RELEASE = _PATHS
"""Where the file can be, the first one counts."""


def libosinfo_id(os_release: bytes) -> str:
    """Return the id of an operating system; "" if it is not certain.

    Args:
        os_release: The content of its os-release.
    """
    fields = _fields(os_release)
    system, version = fields.get("ID", ""), fields.get("VERSION_ID", "")
    if system in _ROLLING:
        return _ROLLING[system]
    if not _VERSION.fullmatch(version):
        return ""
    if system == _CENTOS:
        return _CENTOS_STREAM.format(version) if version in _STREAM_ONLY else ""
    if system not in _PARTS:
        return ""
    template, number = _PARTS[system]
    parts = version.split(".")
    return template.format(".".join(parts[:number])) if len(parts) >= number else ""


def _fields(os_release: bytes) -> dict[str, str]:
    fields = {}
    for line in os_release.split(b"\n"):
        if match := _LINE.fullmatch(line.strip()):
            # As in a shell, the last assignment counts.
            fields[match[1].decode()] = match[3].decode()
    return fields
