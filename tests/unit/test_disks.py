# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which files are found in the XML of domains and snapshots."""

from pathlib import Path

from virtlayer.keeper.disks import Disk, parse_disks

SNAPSHOT = """
<domainsnapshot>
  <name>before</name>
  <memory snapshot='external' file='/memory'/>
  <disks>
    <disk name='vda' snapshot='external' type='file'>
      <driver type='qcow2'/><source file='/snap.qcow2'/>
    </disk>
    <disk name='vdb' snapshot='internal'/>
  </disks>
  <domain>
    <os><kernel>/kernel</kernel></os>
    <devices>
      <disk type='file' device='disk'>
        <driver name='qemu' type='qcow2'/>
        <source file='/top.qcow2'><dataStore type='file'><format type='raw'/>
          <source file='/data'/></dataStore></source>
        <backingStore type='file'>
          <format type='qcow2'/><source file='/base.qcow2'/><backingStore/>
        </backingStore>
        <mirror type='block' job='copy'><format type='qed'/><source dev='/dev/mirror'/></mirror>
      </disk>
      <disk type='volume' device='disk'>
        <driver type='qcow2'/><source pool='p' volume='v'/>
      </disk>
      <disk type='file' device='cdrom'><source file='/iso'/></disk>
      <disk type='network'><source protocol='nbd' name='x'/></disk>
      <disk type='file' device='cdrom'/>
      <interface type='bridge'><source bridge='br0'/></interface>
      <filesystem type='file'>
        <driver type='nbd' format='qcow2'/><source file='/root.qcow2'/><target dir='/'/>
      </filesystem>
      <filesystem type='mount'><source dir='/srv'/><target dir='/srv'/></filesystem>
    </devices>
  </domain>
</domainsnapshot>
"""


def test_every_file_of_every_chain_is_found() -> None:
    def file(path: str, image_format: str) -> Disk:
        return Disk("me", Path(path), None, image_format)

    assert set(parse_disks("me", SNAPSHOT)) == {
        file("/kernel", "raw"),
        file("/snap.qcow2", "qcow2"),
        file("/top.qcow2", "qcow2"),
        file("/data", "raw"),
        file("/base.qcow2", "qcow2"),
        file("/dev/mirror", "qed"),
        Disk("me", None, ("p", "v"), "qcow2"),
        file("/iso", "raw"),
        file("/root.qcow2", "qcow2"),
    }
