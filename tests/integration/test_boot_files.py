# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels and initrds of images and of the host become boot volumes of a pool."""

import asyncio
import dataclasses
import hashlib
import os
import signal
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.boot_images import (
    VERSION,
    built_in,
    members,
    modules,
    small_kernel,
    small_module,
)
from tests.support.images import Entry, directory, fifo, file, image, layer, write_layout
from tests.support.kernel import debian_kernel
from tests.support.libvirt_host import LibvirtHost, session_host
from tests.support.pool_content import OWN, left_by_jobs, names_in
from tests.support.service_parts import pulled, service_parts, some_job
from tests.support.small_filesystem import small_filesystem
from virtlayer import host_kernels
from virtlayer.boot_tools import INIT, busybox
from virtlayer.errors import (
    AmbiguousKernel,
    ImageNotFound,
    Internal,
    InUse,
    InvalidArgument,
    NoKernel,
    NoSpace,
    VolumeNotFound,
)
from virtlayer.protocol.domains import Boot
from virtlayer.protocol.names import ImageName, parse_image_name
from virtlayer.protocol.pools import Pool
from virtlayer.protocol.records import RecordKind, record_file
from virtlayer.service.keeper.staging import Staging
from virtlayer.service.machines.kernels import KernelChoice
from virtlayer.service.operations.machines.boot_files import BootFiles, boot_files
from virtlayer.service.operations.services import Services
from virtlayer.service.workers.kernel import HostKernelWorker, ImageKernelWorker
from virtlayer.settings import MachineSettings
from virtlayer.sizes import MIB

_INITRD = b"070701 an initrd of the image"
_INIT = [directory("sbin"), file("sbin/init", b"", mode=0o755)]
_MODULES = modules({"modules.builtin": built_in("virtio_net")})
_DEBIAN = [directory("etc"), file("etc/os-release", b"ID=debian\nVERSION_ID=13\n")]


def _boot(version: str = VERSION, *, initrd: bool = True) -> list[Entry]:
    entries = [directory("boot"), file(f"boot/vmlinuz-{version}", small_kernel(version))]
    return [*entries, *([file(f"boot/initrd.img-{version}", _INITRD)] if initrd else [])]


async def _store(
    services: Services, pool: Pool, name: str, entries: Iterable[Entry], tmp_path: Path
) -> ImageName:
    layout = write_layout(tmp_path / name, {"1": image([layer(*entries)])})
    await pulled(services, f"oci:{layout}:1", pool.name, name=parse_image_name(name))
    return parse_image_name(name)


async def _boot_files(
    services: Services, pool: Pool, name: ImageName, **choice: object
) -> BootFiles:
    found = await services.catalog.get(pool.name, name)
    assert found is not None
    async with services.claims.claimed(pool, [found.volume]) as claim:
        chosen = KernelChoice(**choice)  # type: ignore[arg-type] # the fields of it
        return await boot_files(services, claim, found, chosen, some_job())


async def test_image_with_init_and_initrd(services: Services, pool: Pool, tmp_path: Path) -> None:
    entries = [*_boot(), *_INIT, *_MODULES, *_DEBIAN]
    name = await _store(services, pool, "debian", entries, tmp_path)
    found = await _boot_files(services, pool, name)
    assert found == BootFiles(
        kernel=f"kernel-{hashlib.sha256(small_kernel()).hexdigest()}",
        initrd=f"initrd-{hashlib.sha256(_INITRD).hexdigest()}",
        boot=Boot.IMAGE_INITRD,
        image_init="/sbin/init",
        os_id="http://debian.org/debian/13",
        kernel_version=VERSION,
    )
    assert (pool.path / found.kernel).read_bytes() == small_kernel()
    assert (pool.path / found.initrd).read_bytes() == _INITRD
    for volume in (found.kernel, found.initrd):
        assert stat.S_IMODE((pool.path / volume).stat().st_mode) == 0o440
        listed = await services.pools.volume(pool, volume)
        assert listed is not None
        assert listed.format == "raw"


async def test_image_with_kernel_and_without_init_gets_our_initrd(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    contents = {
        "modules.builtin": built_in(),
        "kernel/net/virtio_net.ko": small_module(["failover"]),
        "kernel/net/failover.ko": small_module(),
    }
    name = await _store(services, pool, "demo", [*_boot(), *modules(contents)], tmp_path)
    found = await _boot_files(services, pool, name)
    assert (found.boot, found.image_init, found.os_id) == (Boot.OWN_INITRD, None, "")
    archive = members((pool.path / found.initrd).read_bytes())
    assert archive["modules"][1] == b"/lib/failover.ko\n/lib/virtio_net.ko\n"


async def test_image_with_an_init_that_is_not_started_gets_our_initrd(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT, *_MODULES], tmp_path)
    with_program = await _boot_files(services, pool, name, starts_init=False)
    with_init = await _boot_files(services, pool, name, starts_init=True)
    assert (with_program.boot, with_init.boot) == (Boot.OWN_INITRD, Boot.IMAGE_INITRD)
    assert with_program.image_init == "/sbin/init"
    assert with_program.kernel == with_init.kernel
    assert with_program.initrd != with_init.initrd


async def test_second_machine_starts_no_worker(
    services: Services, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT, *_MODULES], tmp_path)
    first = await _boot_files(services, pool, name)
    monkeypatch.setattr(ImageKernelWorker, "started", _not_expected)
    assert await _boot_files(services, pool, name) == first


async def test_other_host_uses_the_records_of_the_pool(
    services: Services,
    host: LibvirtHost,
    pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT, *_MODULES], tmp_path)
    first = await _boot_files(services, pool, name)
    monkeypatch.setattr(ImageKernelWorker, "started", _not_expected)
    (tmp_path / "other").mkdir()
    async with service_parts(host, tmp_path / "other") as other:
        await other.records.synchronize(pool)
        assert await _boot_files(other, pool, name) == first


async def test_deleted_boot_volume_is_made_again(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT], tmp_path)
    first = await _boot_files(services, pool, name)
    async with services.claims.locked(pool) as lock:
        deleted = await services.pools.delete(lock, [first.kernel])
    assert deleted.names == (first.kernel,), deleted
    assert first.kernel not in names_in(pool.path)
    assert await _boot_files(services, pool, name) == first
    assert (pool.path / first.kernel).read_bytes() == small_kernel()


async def test_images_share_boot_volumes_of_one_content(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    one = await _store(services, pool, "one", [*_boot(), *_INIT], tmp_path)
    two = await _store(services, pool, "two", [*_boot(), *_INIT, file("more")], tmp_path)
    first = await _boot_files(services, pool, one)
    inode = (pool.path / first.kernel).stat().st_ino
    assert await _boot_files(services, pool, two) == first
    assert (pool.path / first.kernel).stat().st_ino == inode


async def test_several_kernels(services: Services, pool: Pool, tmp_path: Path) -> None:
    entries = [*_boot("6.1"), *_boot("6.2")[1:], *_INIT]
    name = await _store(services, pool, "demo", entries, tmp_path)
    with pytest.raises(AmbiguousKernel, match=r'"demo" has 2 kernels: 6\.1, 6\.2\. Choose'):
        await _boot_files(services, pool, name)
    with pytest.raises(NoKernel, match=r"no kernel 6\.3\. It has: 6\.1, 6\.2\."):
        await _boot_files(services, pool, name, version="6.3")
    first = await _boot_files(services, pool, name, version="6.1")
    second = await _boot_files(services, pool, name, version="6.2")
    assert (first.kernel_version, second.kernel_version) == ("6.1", "6.2")
    assert first.kernel != second.kernel
    assert await _boot_files(services, pool, name, version="6.1") == first


async def test_kernel_without_modules_requires_an_initrd_of_its_own(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    name = await _store(services, pool, "demo", [*_boot(initrd=False), *_INIT], tmp_path)
    with pytest.raises(NoKernel, match=r'"demo" has the kernel 6\.1\.0-test, but not its modules'):
        await _boot_files(services, pool, name)
    assert not [one for one in names_in(pool.path) if one.startswith(("kernel-", "initrd-"))]


async def test_option_kernel_names_an_image(services: Services, pool: Pool, tmp_path: Path) -> None:
    name = await _store(services, pool, "demo", [*_INIT, *_DEBIAN], tmp_path)
    kernel = await _store(services, pool, "kernel", [*_boot(), *_MODULES], tmp_path)
    found = await _boot_files(services, pool, name, kernel=kernel)
    assert (found.boot, found.kernel_version) == (Boot.OWN_INITRD, VERSION)
    assert (found.image_init, found.os_id) == ("/sbin/init", "http://debian.org/debian/13")
    with pytest.raises(NoKernel, match=r'"demo" \(the option "kernel"\) has no kernel: neither'):
        await _boot_files(services, pool, name, kernel=name)
    with pytest.raises(ImageNotFound, match=r'"none" \(the option "kernel"\) does not exist in'):
        await _boot_files(services, pool, name, kernel=parse_image_name("none"))


async def test_kernel_of_the_settings_can_be_in_another_pool(
    services: Services, host: LibvirtHost, pool: Pool, tmp_path: Path
) -> None:
    name = await _store(services, pool, "demo", [file("hello")], tmp_path)
    host.start_pool("kernels")
    kernels = await services.pools.get("kernels")
    await _store(services, kernels, "kernel", [*_boot(), *_MODULES], tmp_path)
    machine = MachineSettings(kernel="kernel", kernel_pool="kernels")
    settings = dataclasses.replace(services.settings, machine=machine)
    configured = dataclasses.replace(services, settings=settings)
    found = await _boot_files(configured, pool, name)
    assert (pool.path / found.kernel).read_bytes() == small_kernel()
    assert not [one for one in names_in(kernels.path) if one.startswith(("kernel-", "initrd-"))]
    host.stop_pool("kernels")


async def test_no_kernel_anywhere(
    services: Services, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_kernels, "_BOOT", tmp_path)
    name = await _store(services, pool, "demo", [file("hello")], tmp_path)
    with pytest.raises(NoKernel, match=r'Give the option "kernel" .*, or set "machine\.kernel" '):
        await _boot_files(services, pool, name)


async def test_session_uses_a_file_of_the_host_and_its_modules(
    services: Services, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = debian_kernel()
    name = await _store(services, pool, "demo", [file("hello")], tmp_path)
    found = await _boot_files(services, pool, name, kernel=kernel.image)
    assert (found.boot, found.kernel_version) == (Boot.OWN_INITRD, kernel.modules.name)
    assert (pool.path / found.kernel).read_bytes() == kernel.image.read_bytes()
    archive = members((pool.path / found.initrd).read_bytes())
    assert archive["bin/busybox"] == (0o100755, busybox().read_bytes())
    assert archive["init"] == (0o100755, INIT.read_bytes())
    assert archive["modules"][1].decode().split() == [
        *("/lib/virtio_blk.ko", "/lib/failover.ko", "/lib/net_failover.ko", "/lib/virtio_net.ko"),
        *("/lib/virtio-rng.ko", "/lib/button.ko", "/lib/evdev.ko"),
        *("/lib/pvpanic.ko", "/lib/pvpanic-mmio.ko"),
    ]
    monkeypatch.setattr(HostKernelWorker, "started", _not_expected)
    assert await _boot_files(services, pool, name, kernel=kernel.image) == found


async def test_system_service_opens_no_file_for_a_caller(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    name = await _store(services, pool, "demo", [file("hello")], tmp_path)
    system = dataclasses.replace(services, session=False)
    with pytest.raises(InvalidArgument, match="opens no files for callers"):
        await _boot_files(system, pool, name, kernel=Path("/etc/shadow"))


@pytest.mark.parametrize(
    ("path", "error", "problem"),
    [
        ("missing", InvalidArgument, "cannot be opened: No such file"),
        (".", InvalidArgument, "not a regular file"),
        ("fifo", InvalidArgument, "not a regular file"),
        ("text", NoKernel, "modules of the kernel .*/text were not found"),
        ("boot/vmlinuz-6.1", InvalidArgument, "cannot be used: it is not a Linux kernel"),
        ("boot/vmlinuz-6.2", NoKernel, "not found in /usr/lib/modules/6.2"),
    ],
)
async def test_files_of_the_host_that_are_not_kernels(
    services: Services,
    pool: Pool,
    tmp_path: Path,
    path: str,
    error: type[Exception],
    problem: str,
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "boot").mkdir()
    (tmp_path / "usr/lib/modules/6.1").mkdir(parents=True)
    for version in ("6.1", "6.2"):
        (tmp_path / f"boot/vmlinuz-{version}").write_text("hello")
    name = await _store(services, pool, "demo", [file("hello")], tmp_path)
    before = names_in(pool.path)
    with pytest.raises(error, match=problem):
        await _boot_files(services, pool, name, kernel=tmp_path / path)
    assert names_in(pool.path) == before


def _not_expected(*_: object) -> None:
    raise AssertionError("a worker was started")


@pytest.mark.parametrize("step", ["link", "flush", "place", "register_volume"])
async def test_cancelled_job_leaves_only_whole_boot_volumes(
    services: Services, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT], tmp_path)
    before = set(names_in(pool.path))
    real = getattr(Staging, step)

    async def cancelling(self: Staging, *arguments: object, **more: object) -> object:
        job.cancel()
        return await real(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Staging, step, cancelling)
        job = asyncio.ensure_future(_boot_files(services, pool, name))
        with pytest.raises(asyncio.CancelledError):
            await job
    assert left_by_jobs(pool.path) == []
    for left in set(names_in(pool.path)) - before:
        digest = hashlib.sha256((pool.path / left).read_bytes()).hexdigest()
        assert left in (f"kernel-{digest}", f"initrd-{digest}")
    assert (await _boot_files(services, pool, name)).boot is Boot.IMAGE_INITRD


async def test_killed_worker_is_an_error_and_leaves_nothing(
    services: Services, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT], tmp_path)
    before = names_in(pool.path)
    real = ImageKernelWorker.write_kernel

    async def killing(self: ImageKernelWorker, *arguments: Any) -> object:
        os.kill(self.pid, signal.SIGKILL)
        return await real(self, *arguments)

    monkeypatch.setattr(ImageKernelWorker, "write_kernel", killing)
    monkeypatch.setattr(ImageKernelWorker, "write_image_initrd", killing)
    with pytest.raises(Internal, match=r'stopped while processing The image "demo"'):
        await _boot_files(services, pool, name)
    assert names_in(pool.path) == before
    assert left_by_jobs(pool.path) == []


async def test_hostile_kernel_is_an_error_and_leaves_nothing(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    entries = [directory("boot"), fifo("boot/vmlinuz-6.1"), file("boot/initrd.img-6.1", _INITRD)]
    name = await _store(services, pool, "demo", [*entries, *_INIT], tmp_path)
    before = names_in(pool.path)
    with pytest.raises(InvalidArgument, match=r'image "demo" has a file "/boot/vmlinuz-6\.1" that'):
        await _boot_files(services, pool, name)
    assert names_in(pool.path) == before
    assert left_by_jobs(pool.path) == []


async def test_image_without_all_of_its_layers_is_reported(
    services: Services, pool: Pool, tmp_path: Path
) -> None:
    layers = [layer(*_boot(), *_INIT), layer(file("more"))]
    layout = write_layout(tmp_path / "demo", {"1": image(layers)})
    name = parse_image_name("demo")
    await pulled(services, f"oci:{layout}:1", pool.name, name=name)
    found = await services.catalog.get(pool.name, name)
    assert found is not None
    (pool.path / found.volumes[0]).unlink()
    with pytest.raises(VolumeNotFound, match='The image "demo" is broken: 1 of its 2 layer'):
        await _boot_files(services, pool, name)
    assert left_by_jobs(pool.path) == []


@pytest.mark.parametrize("content", [b"garbage", b'{"version": 1, "kind": "boot"}'])
async def test_file_in_the_place_of_a_boot_record_is_reported(
    services: Services, pool: Pool, tmp_path: Path, content: bytes
) -> None:
    name = await _store(services, pool, "demo", [*_boot(), *_INIT], tmp_path)
    image_of_name = await services.catalog.get(pool.name, name)
    assert image_of_name is not None
    file_name = record_file(RecordKind.BOOT, image_of_name.volume)
    (pool.path / OWN / file_name).write_bytes(content)
    with pytest.raises(InUse, match=rf"\.virtlayer/{file_name} cannot be used as a record"):
        await _boot_files(services, pool, name)
    (pool.path / OWN / file_name).unlink()
    assert (await _boot_files(services, pool, name)).boot is Boot.IMAGE_INITRD


async def test_full_pool_is_reported(tmp_path: Path) -> None:
    """Its kernel comes from another pool."""
    # A libvirtd of root's may not see what is mounted meanwhile.
    with session_host() as host:
        path = host.pool_directory("full")
        with small_filesystem(path, 24 * MIB):
            host.hand_over(path)
            for name in ("kernels", "full"):
                host.start_pool(name)
            async with service_parts(host, tmp_path) as services:
                await _meet_full_pool(services, tmp_path)
            for name in ("kernels", "full"):
                host.stop_pool(name)


async def _meet_full_pool(services: Services, directory_of_images: Path) -> None:
    kernels, full = [await services.pools.get(name) for name in ("kernels", "full")]
    kernel = [directory("boot"), file(f"boot/vmlinuz-{VERSION}", small_kernel(size=32 * MIB))]
    await _store(services, kernels, "kernel", [*kernel, *_MODULES], directory_of_images)
    name = await _store(services, full, "demo", [file("hello")], directory_of_images)
    machine = MachineSettings(kernel="kernel", kernel_pool="kernels")
    settings = dataclasses.replace(services.settings, machine=machine)
    configured = dataclasses.replace(services, settings=settings)
    with pytest.raises(NoSpace, match=r'The pool "full" .* is full'):
        await _boot_files(configured, full, name)
    assert not [one for one in names_in(full.path) if one.startswith("kernel-")]
    assert left_by_jobs(full.path) == []
