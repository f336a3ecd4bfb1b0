# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains that have virtlayer's metadata, without a kernel: they are started paused at most."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.libvirt_host import LibvirtHost

METADATA = """\
  <metadata>
    <virtlayer:machine xmlns:virtlayer="http://virtlayer.org/xmlns/libvirt/domain/1.0"
                       image="{image}" digest="{digest}" pool="{pool}" volume="{volume}"
                       boot="own-initrd" streams="no" resumed="yes"/>
  </metadata>
"""
_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
{metadata}
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


@contextlib.contextmanager
def defined_machine(
    host: LibvirtHost, name: str, disk: Path, *, metadata: str = ""
) -> Iterator[str]:
    """A domain with a disk; it no longer exists afterwards.

    Args:
        host: Its libvirtd.
        name: Its name.
        disk: The path of the disk.
        metadata: ``METADATA`` with its values; "" for a domain of another program.

    Yields:
        Its UUID.
    """
    description = host.directory / f"{name}.xml"
    description.write_text(_DOMAIN.format(name=name, disk=disk, metadata=metadata))
    host.virsh("define", str(description))
    try:
        yield host.virsh("domuuid", name).strip()
    finally:
        for command in ("destroy", "undefine"):
            with contextlib.suppress(AssertionError):
                host.virsh(command, name)
