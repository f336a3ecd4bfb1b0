# SPDX-License-Identifier: LGPL-2.1-or-later
"""From the packages of the first edition to these, back, and forth again.

Users, units, settings, pools and images carry over. The first edition refuses to run on what a
newer one has left, and says why.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import PASSWORD, USER, define_pool, trust
from tests.acceptance.first_edition import first_edition
from tests.acceptance.pools import left_by_jobs
from tests.acceptance.system import System, booted
from tests.support.images import file, image, layer
from tests.support.registry import Registry

POOL = "/var/lib/libvirt/images"
_OF_OTHERS = ("/var/lib/dpkg", "/var/log", POOL)
MIB = 1024 * 1024
# Every setting that the first edition had, but for the directory of the catalog.
_SETTINGS = """
[storage]
virtual-size = 134_217_728
depth-limit = 3
[cache]
directory = "/var/cache/virtlayer/blobs"
size-limit = 1_000_000_000
[jobs]
running-limit = 2
keep-seconds = 120
keep-number = 9
[layer]
entries-limit = 100_000
bytes-limit = 10_000_000_000
path-limit = 4_000
header-limit = 100_000
segments-limit = 10_000
memory-limit = 2_000_000_000
cpu-limit = 1_000
[service]
idle-timeout = 30
"""
_DROP_IN = "[Service]\nEnvironment=OF_THE_ADMINISTRATOR=kept\n"


@pytest.fixture
def old(root: Path, shared: Path, registry: Registry) -> Iterator[System]:
    """A system with the first edition, which an administrator has set up and used."""
    packages = first_edition()
    with tempfile.TemporaryDirectory() as scratch:
        both = Path(scratch, "shared")
        shutil.copytree(shared, both)
        both.joinpath("old").mkdir()
        for package in packages:
            shutil.copy(package, both / "old")
        both.chmod(0o755)
        with booted(root, both) as system, system.forward(registry.port):
            define_pool(system)
            trust(system, registry)
            apt(system, "install", "/shared/old/*.deb")
            write(system, "/etc/virtlayer/virtlayerd.toml", _SETTINGS)
            drop_in = "/etc/systemd/system/virtlayerd.service.d/administrator.conf"
            write(system, drop_in, _DROP_IN)
            system.run("systemctl", "daemon-reload")
            system.run("systemctl", "disable", "--now", "virtlayer-populate.timer")
            yield system


def test_upgrade_downgrade_and_purge(old: System, registry: Registry) -> None:
    base, top = layer(file("a", b"a")), layer(file("b", b"b"))
    source = registry.store(image([base, top]), "old:1")
    other = registry.store(image([base, layer(file("c", b"c"))]), "new:1")
    write(old, "/etc/virtlayer/images.d/old.toml", f'source = "{source}"\npool = "default"\n')
    pull(old, source)
    old.run("virtlayer", "create-volume", "old:1", "data.qcow2")
    sums = old.run("sh", "-c", f"sha256sum {POOL}/*")

    apt(old, "install", "/shared/*.deb")

    # Images and volumes are as before, and their contents too.
    assert names(old) == {"old:1"}
    old.run("virtlayer", "create-volume", "old:1", "more.qcow2")
    assert set(sums.splitlines()) < set(old.run("sh", "-c", f"sha256sum {POOL}/*").splitlines())
    # The names of layers include more than they did, so a pull builds them anew, and says so.
    assert pull(old, source)["layers_built"] == 2
    assert "has built layers of old:1 again" in old.journal("--unit=virtlayerd.service")
    assert pull(old, source)["layers_built"] == 0
    # Settings and configured images are read; the unit has the administrator's drop-in, and the
    # timer is still off.
    [status] = json.loads(old.run("virtlayer", "status", "--json"))
    assert (status["name"], status["source"]) == ("old:1", source)
    assert virtual_size(old, pull(old, other)) == 128 * MIB
    assert "OF_THE_ADMINISTRATOR=kept" in old.unit("virtlayerd.service", "Environment")
    assert old.attempt("systemctl", "is-enabled", "virtlayer-populate.timer").status != 0
    assert old.run("cat", "/etc/virtlayer/virtlayerd.toml") == _SETTINGS
    # The service no longer runs as root.
    assert old.unit("virtlayerd.service", "User") == "virtlayer"
    assert old.run("stat", "--format=%U %a", "/var/lib/virtlayer").split() == ["root", "755"]
    assert old.run("systemctl", "--failed", "--no-legend") == ""

    apt(old, "purge", "virtlayer-rbd", "cockpit-virtlayer")
    apt(old, "install", "--allow-downgrades", "/shared/old/*.deb")

    refused = old.attempt("virtlayer", "images")
    assert refused.status != 0
    assert "made by a newer virtlayer" in old.journal("--unit=virtlayerd.service")

    apt(old, "install", "/shared/*.deb")

    assert names(old) == {"old:1", "new:1"}
    assert pull(old, other)["layers_built"] == 0

    old.run("systemctl", "revert", "virtlayerd.service")
    apt(old, "purge", "virtlayer", "virtlayer-rbd", "cockpit-virtlayer", "virtlayerd")
    elsewhere = [word for path in _OF_OTHERS for word in ("-not", "-path", f"{path}/*")]
    found = old.run("find", "/etc", "/usr", "/var", "-name", "*virtlayer*", *elsewhere)
    # What an administrator has added stays, as with any package.
    assert found.splitlines() == ["/etc/virtlayer"]
    assert old.run("find", "/etc/virtlayer", "-type", "f") == "/etc/virtlayer/images.d/old.toml\n"
    assert left_by_jobs(old, POOL) == []
    assert {"data.qcow2", "more.qcow2"} < set(old.run("ls", POOL).split())


def apt(system: System, *arguments: str) -> None:
    """As an administrator who keeps the settings that were changed."""
    keep = "-oDpkg::Options::=--force-confold"
    command = f"DEBIAN_FRONTEND=noninteractive apt-get -qq -y {keep} {' '.join(arguments)}"
    system.run("sh", "-c", command)


def write(system: System, path: str, text: str) -> None:
    system.run("install", "-D", "-m", "0644", "/dev/stdin", path, stdin=text)


def pull(system: System, source: str) -> dict[str, object]:
    options = ("--username", USER, "--password-stdin", "--json")
    result = json.loads(system.run("virtlayer", "pull", source, *options, stdin=PASSWORD))
    assert isinstance(result, dict)
    return result


def names(system: System) -> set[str]:
    return {one["name"] for one in json.loads(system.run("virtlayer", "images", "--json"))}


def virtual_size(system: System, pulled: dict[str, object]) -> int:
    about = ("qemu-img", "info", "--output=json", f"{POOL}/{pulled['volume']}")
    return int(json.loads(system.run(*about))["virtual-size"])
