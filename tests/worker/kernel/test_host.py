# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel of the host, opened by the keeper's code and read by the real worker."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.boot_images import members, small_kernel
from tests.support.kernel import debian_kernel
from tests.worker.kernel.conftest import Output
from virtlayer import host_kernels
from virtlayer.errors import Internal, InvalidArgument, NoKernel
from virtlayer.service.workers.kernel import HostKernelWorker
from virtlayer.settings import LayerSettings

_SUBJECT = "The kernel of this host"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host without a kernel."""
    for name in ("boot", "modules"):
        (tmp_path / "host" / name).mkdir(parents=True)
    monkeypatch.setattr(host_kernels, "_BOOT", tmp_path / "host/boot")
    monkeypatch.setattr(host_kernels, "_MODULES", (tmp_path / "host/modules",))
    return tmp_path / "host"


def _install(host: Path, version: str, kernel: bytes | None = None) -> None:
    (host / f"boot/vmlinuz-{version}").write_bytes(kernel or small_kernel(version))
    (host / "modules" / version).mkdir()


@asynccontextmanager
async def _worker(output: Output, files: Sequence[int] = ()) -> AsyncIterator[HostKernelWorker]:
    settings = LayerSettings()
    async with HostKernelWorker.started(output.staging, settings, files) as worker:
        yield worker


async def test_kernel_and_modules_of_the_host(host: Path, output: Output) -> None:
    kernel = debian_kernel()
    version = kernel.modules.name
    _install(host, version, kernel.image.read_bytes())
    (host / "modules" / version).rmdir()
    shutil.copytree(kernel.modules, host / "modules" / version)
    async with _worker(output) as worker:
        written = await worker.write_kernel(_SUBJECT)
        assert written.version == version
        assert output.file.read_bytes() == kernel.image.read_bytes()
        await worker.write_own_initrd(_SUBJECT)
        assert "lib/virtio_net.ko" in members(output.file.read_bytes())


async def test_running_kernel_is_preferred_to_the_newest(host: Path, output: Output) -> None:
    running = os.uname().release
    for version in ("999.0", running, "1000.0-rc1"):
        _install(host, version)
    async with _worker(output) as worker:
        assert (await worker.write_kernel(_SUBJECT)).version == running


async def test_newest_kernel_is_used_if_the_running_one_is_missing(
    host: Path, output: Output
) -> None:
    for version in ("6.9.1", "6.12.0", "6.2.10", "0-rescue-12ab"):
        _install(host, version)
    async with _worker(output) as worker:
        assert (await worker.write_kernel(_SUBJECT)).version == "6.12.0"


async def test_host_without_kernel(host: Path, output: Output) -> None:
    with pytest.raises(NoKernel, match="This host has no kernel in /boot"):
        async with _worker(output):
            pass
    (host / "boot/vmlinuz-6.1").write_bytes(small_kernel())
    with pytest.raises(NoKernel, match=r"has no modules in /usr/lib/modules/6\.1"):
        async with _worker(output):
            pass


async def test_worker_opens_no_fifo_and_follows_no_symlink(host: Path, output: Output) -> None:
    _install(host, "6.1")
    os.mkfifo(host / "modules/6.1/modules.builtin")
    (host / "modules/6.1/build").symlink_to("/etc")
    async with _worker(output) as worker:
        with pytest.raises(InvalidArgument, match=r'"modules\.builtin" .* not a regular file'):
            await worker.write_own_initrd(_SUBJECT)


async def test_service_passes_only_a_kernel_and_a_directory(host: Path, output: Output) -> None:
    _install(host, "6.1")
    kernel = os.open(host / "boot/vmlinuz-6.1", os.O_RDONLY)
    try:
        for files in ([kernel], [kernel, kernel], [kernel, kernel, kernel]):
            with pytest.raises(Internal):
                async with _worker(output, files):
                    pass
    finally:
        os.close(kernel)
