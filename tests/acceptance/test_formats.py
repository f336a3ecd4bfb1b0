# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images as directories and as machines' disks, by the service with its unit's rights."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import PASSWORD, USER
from tests.acceptance.system import System
from tests.support.images import device, directory, file, image, layer
from tests.support.registry import Registry

_ACCESS = ("--username", USER, "--password-stdin")
_POOL = "/var/lib/libvirt/containers"


@pytest.fixture(scope="module")
def pool(system: System) -> str:
    """A pool as the manual says that one for containers is made."""
    system.run("install", "--directory", "--mode=0700", _POOL)
    system.run("virsh", "pool-define-as", "containers", "dir", f"--target={_POOL}")
    system.run("virsh", "pool-start", "containers")
    return "containers"


def test_a_directory_has_owners_and_setuid_programs(
    system: System, registry: Registry, pool: str
) -> None:
    content = image(
        [
            layer(
                directory("bin"),
                file("bin/su", b"su", mode=0o4755),
                file("bin/other", b"o", mode=0o2711, uid=1234, gid=5678),
                file("etc/passwd", b"root:*:0:0:root:/root:/bin/sh\n"),
                device("null", "c", 1, 3),
            )
        ]
    )
    source = registry.store(content, "directory:1")
    options = ("--format=dir", "--volume=guest", "--hostname=guest", *_ACCESS, "--json")
    result = json.loads(system.run("virtlayer", "pull", source, pool, *options, stdin=PASSWORD))
    assert (result["path"], result["squashed"]) == (f"{_POOL}/guest", False)
    assert result["skipped_devices"] == 1
    names = [f"{_POOL}/guest/{name}" for name in ("bin/su", "bin/other", "etc/hostname")]
    found = system.run("stat", "--format=%a %u %g", *names)
    assert found.split("\n")[:3] == ["4755 0 0", "2711 1234 5678", "644 0 0"]
    assert "guest" in system.run("virsh", "vol-list", pool)

    ended = system.attempt("virtlayer", "pull", source, *options, stdin=PASSWORD)
    assert "Every user of this host can enter the directory" in ended.stderr


def test_a_disk_is_looked_at_and_taken(
    system: System, registry: Registry, pool: str, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "20M"], check=True)
    content = image([layer(file("disk/disk.img", disk.read_bytes()))])
    source = registry.store(content, "disk:1")
    options = ("--format=disk", "--volume=machine", *_ACCESS, "--json")
    result = json.loads(system.run("virtlayer", "pull", source, pool, *options, stdin=PASSWORD))
    assert (result["format"], result["virtual_size"]) == ("qcow2", 20 * 1024**2)
    assert "machine" in system.run("virsh", "vol-list", pool)
