# SPDX-License-Identifier: LGPL-2.1-or-later
"""No domain has a layer as its disk: what libvirt deletes with a domain is that domain's own."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.bus_daemon import session_bus
from tests.support.command import virtlayer
from tests.support.images import Content, directory, file, image, layer
from tests.support.libvirt_host import LibvirtHost
from tests.support.pool_user import PoolUser, pool_user, qemu_img, some_image, some_layers
from tests.support.registry import Registry
from tests.support.virtlayerd import virtlayerd
from tests.support.volumes import assert_sound

# The libvirtd has no KVM.
KERNEL = ("--kernel=/dev/null", "--no-kvm")


@pytest.fixture(scope="module")
def user(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolUser]:
    with (
        Registry(tmp_path_factory.mktemp("registry")) as registry,
        session_bus(tmp_path_factory.mktemp("bus")) as bus,
        virtlayerd(host, bus, tmp_path_factory.mktemp("virtlayerd")) as daemon,
        pool_user(daemon, registry, host) as user,
    ):
        yield user


def define(user: PoolUser, xml: str) -> str:
    """Define a domain, and return its name."""
    description = user.host.directory / "domain.xml"
    description.write_text(xml)
    user.host.virsh("define", str(description))
    name = ElementTree.fromstring(xml).findtext("name")  # noqa: S314 -- our own
    assert name
    return name


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
async def test_an_image_without_a_volume_is_refused(user: PoolUser, kind: str) -> None:
    await user.pull(some_image("shared"), "shared")
    ended = await user.fail("xml", "shared", user.pool, *KERNEL, f"--type={kind}", "--privileged")
    assert (ended.status, ended.stdout) == (2, "")
    assert "--volume NAME" in ended.stderr


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
async def test_a_layer_is_refused(user: PoolUser, kind: str) -> None:
    [top] = await user.pull(some_image("shared"), "shared")
    ended = await user.fail("xml", top, user.pool, *KERNEL, f"--type={kind}", "--privileged")
    assert (ended.status, ended.stdout) == (2, "")
    assert "is a layer" in ended.stderr


async def test_deleting_a_domain_with_its_storage_leaves_image_and_overlays_whole(
    user: PoolUser, tmp_path: Path
) -> None:
    layers = await user.pull(some_image("base", "top"), "whole")
    await user.run("create-volume", "whole", "other.qcow2", user.pool)
    printed = await user.tell("xml", "whole", user.pool, "--volume=mine.qcow2", *KERNEL)
    assert not any(one in printed for one in layers)

    name = define(user, printed)
    deleted = user.host.virsh("undefine", name, "--remove-all-storage")

    assert "mine.qcow2" in deleted
    assert "mine.qcow2" not in user.volumes
    assert set(layers) <= set(user.volumes)
    await user.run("create-volume", "whole", "again.qcow2", user.pool)
    for name in ("other.qcow2", "again.qcow2"):
        raw = tmp_path / name
        qemu_img("convert", "-O", "raw", str(user.path / name), str(raw))
        assert_sound(raw)


async def test_the_disk_is_a_file_under_the_path_that_libvirt_knows(
    user: PoolUser,
) -> None:
    """A pool behind a symbolic link, as /home is on some systems."""
    link, directory = user.host.directory / "linked", user.host.pool_directory("behind-a-link")
    link.symlink_to(directory)
    user.host.virsh("pool-create-as", "linked", "dir", "--target", str(link))
    source = user.registry.store(some_image("linked"), "linked:1")
    await user.run("pull", source, "linked", "--tls-verify=false", "--volume=mine.qcow2")

    printed = await user.tell("xml", "mine.qcow2", "linked", *KERNEL)

    disk = ElementTree.fromstring(printed).find("devices/disk")  # noqa: S314 -- our own
    assert disk is not None
    assert disk.get("type") == "file"
    source_of_disk = disk.find("source")
    assert source_of_disk is not None
    assert source_of_disk.attrib == {"file": str(link / "mine.qcow2")}
    name = define(user, printed)
    assert "mine.qcow2" in user.host.virsh("undefine", name, "--remove-all-storage")
    assert not (directory / "mine.qcow2").exists()
    user.host.virsh("pool-destroy", "linked")


def foreign_image() -> Content:
    """An image for arm64."""
    config = {"config": {"Cmd": ["/sbin/init"]}, "architecture": "arm64"}
    return image(some_layers("foreign"), config=config)


async def test_pulling_an_image_for_another_architecture_warns(user: PoolUser) -> None:
    source = user.registry.store(foreign_image(), "warned:1")
    pull = ("--user", "pull", source, user.pool, "--tls-verify=false")
    for _ in range(2):
        ended = await virtlayer(*pull, env=user.daemon.environment)
        assert ended.status == 0
        [warning] = [line for line in ended.stderr.splitlines() if "warning" in line]
        assert warning.startswith(
            "virtlayer: warning: The image is for linux/arm64, and this host is linux/amd64."
        )


async def test_pulling_an_image_that_contains_a_disk_points_at_the_format(user: PoolUser) -> None:
    content = image([layer(directory("disk"), file("disk/f.qcow2", b"QFI\xfb" + bytes(508)))])
    source = user.registry.store(content, "contained:1")
    pull = ("--user", "pull", source, user.pool, "--tls-verify=false")
    ended = await virtlayer(*pull, env=user.daemon.environment)
    assert ended.status == 0
    assert "Pull it with --format=disk" in ended.stderr


async def test_an_image_for_another_architecture_is_a_domain_for_it_with_a_warning(
    user: PoolUser,
) -> None:
    await user.pull(foreign_image(), "foreign")
    command = ("--user", "xml", "foreign", user.pool, "--volume=foreign.qcow2")

    ended = await user.fail(*command[1:])
    assert ended.status == 2
    assert "kernels of the host are for amd64. Specify --kernel" in ended.stderr
    assert "foreign.qcow2" not in user.volumes

    printed = await user.run(*command[1:], *KERNEL)
    root = ElementTree.fromstring(printed["xml"])  # noqa: S314 -- our own
    system = root.find("os/type")
    assert system is not None
    assert (root.get("type"), system.get("arch")) == ("qemu", "aarch64")
    [warning] = printed["warnings"]
    assert "The image is for arm64, and the host is amd64" in warning
    assert "qemu-system-aarch64" in warning


async def test_an_image_without_an_init_is_a_domain_with_a_warning(user: PoolUser) -> None:
    await user.pull(image(some_layers("shell"), config={"config": {"Cmd": ["bash"]}}), "shell")
    printed = await user.run("xml", "shell", user.pool, "--volume=shell.qcow2", *KERNEL)
    [warning] = printed["warnings"]
    assert 'starts "bash" and no init' in warning
