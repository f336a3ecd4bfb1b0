# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processor architectures: an image's, this host's, and their names in libvirt and QEMU.

OCI configs use the names of Go (image-spec, config.md, "Properties"), libvirt and the kernel their
own.
"""

import platform

_LIBVIRT = {
    "amd64": "x86_64",
    "386": "i686",
    "arm64": "aarch64",
    "arm": "armv7l",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_QEMU = {"i686": "i386", "armv7l": "arm", "ppc64le": "ppc64"}
"""Where QEMU's name is not libvirt's."""


def host_architecture() -> str:
    """This host's architecture, as an OCI config names it."""
    machine = platform.machine()
    return next((oci for oci, libvirt in _LIBVIRT.items() if libvirt == machine), machine)


def libvirt_architecture(architecture: str) -> str:
    """The name in domain XML of an OCI config's architecture; "" if libvirt has none."""
    return _LIBVIRT.get(architecture, "")


def emulator(architecture: str) -> str:
    """The QEMU program that emulates an OCI config's architecture."""
    name = _LIBVIRT.get(architecture, architecture)
    return f"qemu-system-{_QEMU.get(name, name)}"
