# SPDX-License-Identifier: LGPL-2.1-or-later
"""An image of 40 layers, pulled over D-Bus, boots: its own program answers on the console.

Two daemons that share nothing pull it, as on two machines, into a pool each.
"""

import asyncio
import hashlib
import itertools
import json
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.command import virtlayer
from tests.support.images import Content, LayerContent, directory, file, image, layer, whiteout
from tests.support.libvirt_host import LibvirtHost
from tests.support.machine import booted
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd
from tests.support.volumes import assert_sound

LAYERS = 40
DEEPEST = 16
"""Volumes in a chain, by default: libvirt 11.3 starts no machine on more than 25 images."""

KEPT = (1, DEEPEST - 2, DEEPEST, 30, LAYERS - 1)
"""The layers whose files no later one deletes: on either side of where volumes are merged."""

INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox --install -s /bin
grep ' / ' /proc/mounts
for file in /etc/base /etc/changed /etc/layers/*; do echo "$file: $(cat $file)"; done
echo 'Which file?'
read -r file
sha256sum "$file"
sync
mount -o remount,ro /
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """What one of the daemons has made.

    Attributes:
        pool: The name of its pool.
        directory: The path of that.
        volumes: The names of the volumes, base first.
    """

    pool: str
    directory: Path
    volumes: list[str]

    @property
    def top(self) -> Path:
        return self.directory / self.volumes[-1]


@pytest.fixture(scope="module")
def chains(
    host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Chain, Chain]]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        source = registry.store(forty_layers(), "forty:1")
        one, other = (
            pull(host, source, f"boot-{name}", tmp_path_factory) for name in ("one", "other")
        )
    yield one, other
    host.stop_pool(one.pool)
    host.stop_pool(other.pool)


def pull(host: LibvirtHost, source: str, pool: str, places: pytest.TempPathFactory) -> Chain:
    """Pull by a daemon of its own: its bus, its state, its cache, its pool."""
    path = host.start_pool(pool)
    with (
        session_bus(places.mktemp("bus")) as bus,
        virtlayerd(host, bus, places.mktemp("virtlayerd")) as daemon,
    ):
        command = ("--user", "pull", source, pool, "--tls-verify=false", "--json")
        ended = asyncio.run(virtlayer(*command, env=daemon.environment))
        assert ended.status == 0, ended.stderr + daemon.log
    result = json.loads(ended.stdout)
    assert (result["layers_built"], result["layers_reused"]) == (LAYERS, 0)
    return Chain(pool, path, result["volumes"])


def forty_layers() -> Content:
    """An image that boots, whose layers add, change and delete files."""
    base = layer(
        *map(directory, ("bin", "dev", "etc", "etc/layers", "proc", "sbin")),
        file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
        file("sbin/init", INIT.encode(), mode=0o755),
        file("etc/base", b"the first layer"),
        file("etc/changed", b"by nothing"),
    )
    return image([base, *map(small_layer, range(1, LAYERS))])


def small_layer(number: int) -> LayerContent:
    below = number - 1
    return layer(
        file("etc/changed", f"by layer {number}".encode()),
        file(f"etc/layers/{number}", text_of(number).encode()),
        *([] if below in (0, *KEPT) else [whiteout(f"etc/layers/{below}")]),
        compression=("gzip", "zstd", "none")[number % 3],
    )


def text_of(number: int) -> str:
    return f"This is layer {number}."


def test_the_chain_is_sixteen_volumes_deep_and_sound(
    chains: tuple[Chain, Chain], host: LibvirtHost
) -> None:
    for chain in chains:
        assert len(chain.volumes) == DEEPEST
        assert host.volumes(chain.pool) == sorted(chain.volumes)
        assert backing_chain(chain.top) == chain.volumes[::-1]
        for name in chain.volumes:
            subprocess.run(["qemu-img", "check", "-q", chain.directory / name], check=True)


def backing_chain(volume: Path) -> list[str]:
    """The names of the images from the top down, each opened by qemu."""
    output = subprocess.check_output(
        ["qemu-img", "info", "--backing-chain", "--output=json", volume], text=True
    )
    return [Path(entry["filename"]).name for entry in json.loads(output)]


def test_libvirt_reports_the_backing_of_each_volume(
    chains: tuple[Chain, Chain], host: LibvirtHost
) -> None:
    for chain in chains:
        paths = [str(chain.directory / name) for name in chain.volumes]
        seen = [seen_by_libvirt(host, chain.pool, name) for name in chain.volumes]
        assert seen[0] == {"target/path": paths[0], "target/format": "qcow2"}
        assert seen[1:] == [
            {
                "target/path": path,
                "target/format": "qcow2",
                "backingStore/path": below,
                "backingStore/format": "qcow2",
            }
            for below, path in itertools.pairwise(paths)
        ]


def seen_by_libvirt(host: LibvirtHost, pool: str, volume: str) -> dict[str, str]:
    """The paths and formats of the volume and its backing store, if any."""
    xml = host.virsh("vol-dumpxml", volume, "--pool", pool)
    volume_element = ElementTree.fromstring(xml)  # noqa: S314 -- libvirt's own
    return {
        f"{part}/{field}": element.get("type", element.text or "")
        for part in ("target", "backingStore")
        for field in ("path", "format")
        if (element := volume_element.find(f"{part}/{field}")) is not None
    }


def test_two_machines_make_the_same_of_one_image(chains: tuple[Chain, Chain]) -> None:
    one, other = chains
    assert one.volumes == other.volumes
    compared = subprocess.run(
        ["qemu-img", "compare", one.top, other.top], capture_output=True, text=True, check=False
    )
    assert compared.stdout == "Images are identical.\n", compared.stdout + compared.stderr


@pytest.fixture
def overlay(host: LibvirtHost, chains: tuple[Chain, Chain]) -> Iterator[Path]:
    """A writable volume on the chain, as libvirt itself makes one."""
    chain = chains[0]
    host.virsh(
        *("vol-create-as", chain.pool, "guest.qcow2", "16GiB", "--format=qcow2"),
        *(f"--backing-vol={chain.volumes[-1]}", "--backing-vol-format=qcow2"),
    )
    yield chain.directory / "guest.qcow2"
    host.virsh("vol-delete", "guest.qcow2", "--pool", chain.pool)


def test_a_program_of_the_image_answers_on_the_console(
    chains: tuple[Chain, Chain], overlay: Path, host: LibvirtHost, tmp_path: Path
) -> None:
    chain = chains[0]
    before = [state_of(chain.directory / name) for name in chain.volumes]
    kept = {f"/etc/layers/{number}": text_of(number) for number in KEPT}
    asked = next(iter(kept))
    with booted(host, overlay) as machine:
        report = machine.wait_for("Which file?\n").splitlines()
        machine.send(asked)
        machine.wait_for(f"{hashlib.sha256(kept[asked].encode()).hexdigest()}  {asked}\n")
        machine.wait_until_off()
    assert report[0].startswith("/dev/vda / ext4 rw")
    assert report[1:-1] == [
        "/etc/base: the first layer",
        f"/etc/changed: by layer {LAYERS - 1}",
        *(f"{path}: {text}" for path, text in sorted(kept.items())),
    ]

    assert [state_of(chain.directory / name) for name in chain.volumes] == before
    raw = tmp_path / "guest.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", overlay, raw], check=True)
    assert_sound(raw)


def state_of(volume: Path) -> tuple[int, str]:
    """What a machine that runs on a volume leaves alone. (The owner stays QEMU's.)"""
    mode = stat.S_IMODE(volume.stat().st_mode)
    return mode, hashlib.sha256(volume.read_bytes()).hexdigest()
