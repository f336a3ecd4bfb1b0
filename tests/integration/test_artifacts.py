# SPDX-License-Identifier: LGPL-2.1-or-later
"""OCI artifacts whose one file is a disk image, by the command, with everything real."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.images import Compression, Content, LayerContent, artifact, layer, write_layout
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_content import names_in
from tests.support.pool_user import PoolUser, qemu_img
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd
from virtlayer.sizes import MIB

_numbers = itertools.count(1)
KUBEVIRT = "application/vnd.kubevirt.disk.raw+zstd"
ORAS_DEFAULT = "application/vnd.oci.image.layer.v1.tar"
"""The media type that oras gives a file by default."""


@pytest.fixture(scope="module")
def user(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolUser]:
    name = "artifacts"
    host.start_pool(name)
    with (
        Registry(tmp_path_factory.mktemp("registry")) as registry,
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, tmp_path_factory.mktemp("virtlayerd")) as daemon,
    ):
        yield PoolUser(daemon, registry, host, name)
    host.stop_pool(name)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("disks")
    raw = place / "raw"
    raw.write_bytes(b"boot".ljust(510, b"\0") + b"\x55\xaa" + b"data" * 128 * 1024)
    with raw.open("r+b") as stream:
        stream.truncate(20 * MIB + 512)
    qemu_img("convert", "-q", "-f", "raw", "-O", "qcow2", str(raw), str(place / "qcow2"))
    overlay = ("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd")
    qemu_img(*overlay, str(place / "overlay"))
    qemu_img("convert", "-q", "-f", "raw", "-O", "vmdk", str(raw), str(place / "vmdk"))
    return place


def _file(content: bytes, compression: Compression, media_type: str) -> LayerContent:
    return layer(raw=content, compression=compression, media_type=media_type)


def _stored(user: PoolUser, content: Content) -> str:
    return user.registry.store(content, f"artifact-{next(_numbers)}:1")


def _pull(user: PoolUser, source: str, *options: str) -> tuple[str, ...]:
    return ("pull", source, user.pool, "--tls-verify=false", *options)


@pytest.mark.parametrize(
    ("disk", "compression", "media_type"),
    [
        ("qcow2", "none", "application/vnd.example.qcow2"),
        ("qcow2", "none", ORAS_DEFAULT),
        ("raw", "none", "application/octet-stream"),
        ("raw", "zstd", KUBEVIRT),
        ("raw", "gzip", "application/gzip"),
    ],
)
async def test_disk_in_an_artifact_becomes_a_volume(
    user: PoolUser, disks: Path, disk: str, compression: Compression, media_type: str
) -> None:
    content = artifact([_file((disks / disk).read_bytes(), compression, media_type)])
    name = f"machine-{next(_numbers)}"
    source = _stored(user, content)
    result = await user.run(*_pull(user, source, "--format=disk", f"--volume={name}"))
    assert (user.path / name).read_bytes() == (disks / disk).read_bytes()
    assert (result["format"], result["digest"]) == (disk, content.digest)
    assert f"<format type='{disk}'/>" in user.host.virsh("vol-dumpxml", name, user.pool)


async def test_disk_of_an_artifact_boots_by_itself(user: PoolUser, disks: Path) -> None:
    content = artifact([_file((disks / "qcow2").read_bytes(), "none", ORAS_DEFAULT)])
    await user.run(*_pull(user, _stored(user, content), "--format=disk", "--volume=own"))
    xml = await user.tell("xml", "own", user.pool, "--no-kvm")
    assert "<kernel>" not in xml


async def test_artifact_in_a_layout_works_as_one_in_a_registry(
    user: PoolUser, disks: Path, tmp_path: Path
) -> None:
    content = artifact([_file((disks / "qcow2").read_bytes(), "none", ORAS_DEFAULT)])
    write_layout(tmp_path / "layout", {"1": content})
    source = f"oci:{tmp_path}/layout:1"
    await user.run("pull", source, user.pool, "--format=disk", "--volume=local")
    assert (user.path / "local").read_bytes() == (disks / "qcow2").read_bytes()


@pytest.mark.parametrize("options", [(), ("--format=dir", "--volume=tree")])
async def test_artifact_is_not_an_image_with_a_file_system(
    user: PoolUser, disks: Path, options: tuple[str, ...]
) -> None:
    before = names_in(user.path)
    kind = "application/vnd.example.machine"
    # Closed, as it must be for a directory of root.
    user.path.chmod(0o700)
    file = _file((disks / "qcow2").read_bytes(), "none", ORAS_DEFAULT)
    source = _stored(user, artifact([file], artifact_type=kind))
    ended = await user.fail(*_pull(user, source, *options))
    for part in (source, kind, "--format=disk"):
        assert part in ended.stderr
    assert names_in(user.path) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a helm chart, or something else" * 1000, "neither a qcow2 nor a raw disk"),
        (b"", "neither a qcow2 nor a raw disk"),
        (b"QFI\xfb", "ends within its qcow2 header"),
    ],
)
async def test_artifact_that_is_not_a_disk_is_refused(
    user: PoolUser, content: bytes, said: str
) -> None:
    before = names_in(user.path)
    source = _stored(user, artifact([_file(content, "none", ORAS_DEFAULT)]))
    ended = await user.fail(*_pull(user, source, "--format=disk", "--volume=none"))
    assert said in ended.stderr
    assert names_in(user.path) == before


@pytest.mark.parametrize("disk", ["overlay", "vmdk"])
async def test_disk_that_refers_to_another_file_or_has_another_format_is_refused(
    user: PoolUser, disks: Path, disk: str
) -> None:
    before = names_in(user.path)
    content = artifact([_file((disks / disk).read_bytes(), "none", ORAS_DEFAULT)])
    await user.fail(*_pull(user, _stored(user, content), "--format=disk", "--volume=none"))
    assert names_in(user.path) == before


async def test_artifact_of_several_files_is_refused(user: PoolUser, disks: Path) -> None:
    content = (disks / "qcow2").read_bytes()
    files = [_file(content, "none", ORAS_DEFAULT), _file(b"readme", "none", "text/plain")]
    source = _stored(user, artifact(files))
    ended = await user.fail(*_pull(user, source, "--format=disk", "--volume=none"))
    assert (source in ended.stderr, "2 files" in ended.stderr) == (True, True)


async def test_artifact_can_be_inspected(user: PoolUser, disks: Path) -> None:
    content = artifact([_file((disks / "qcow2").read_bytes(), "none", ORAS_DEFAULT)])
    source = _stored(user, content)
    shown = await user.run("inspect", source, "--tls-verify=false")
    assert (shown["digest"], shown["os"]) == (content.digest, "")
