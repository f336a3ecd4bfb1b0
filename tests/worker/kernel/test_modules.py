# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our initrd has the modules that a machine needs, in the order of loading."""

import gzip
import lzma
from collections.abc import Mapping

import pytest
import zstandard

from tests.support.boot_images import (
    VERSION,
    built_in,
    debian_files,
    members,
    modules,
    small_kernel,
    small_module,
)
from tests.support.images import directory, file, symlink
from tests.support.kernel import debian_kernel
from tests.worker.kernel.conftest import ImageReader
from virtlayer.boot_tools import INIT, busybox
from virtlayer.errors import InvalidArgument, NoKernel
from virtlayer.sizes import MIB

_BUILT_IN = {"modules.builtin": built_in()}


async def _build(image: ImageReader, contents: Mapping[str, bytes]) -> None:
    kernel = [directory("boot"), file(f"boot/vmlinuz-{VERSION}", small_kernel())]
    await image.build([*kernel, *modules(contents)], size=128 * MIB)


async def _loaded(image: ImageReader, contents: Mapping[str, bytes]) -> list[str]:
    """The modules that our init would load."""
    await _build(image, contents)
    _, archive = await image.own_initrd(VERSION)
    return members(archive)["modules"][1].decode().split()


async def test_kernel_of_debian(image: ImageReader) -> None:
    kernel = debian_kernel()
    await image.build(debian_files(), size=512 * MIB)
    version = kernel.modules.name
    first, archive = await image.own_initrd(version)
    found = members(archive)
    assert list(found) == sorted(found)
    assert found["init"] == (0o100755, INIT.read_bytes())
    assert found["bin/busybox"] == (0o100755, busybox().read_bytes())
    listed = found["modules"][1].decode().split()
    assert listed == [
        *("/lib/virtio_blk.ko", "/lib/failover.ko", "/lib/net_failover.ko", "/lib/virtio_net.ko"),
        *("/lib/virtio-rng.ko", "/lib/button.ko", "/lib/evdev.ko"),
        *("/lib/pvpanic.ko", "/lib/pvpanic-mmio.ko"),
    ]
    [path] = kernel.modules.rglob("virtio_blk.ko.xz")
    assert found["lib/virtio_blk.ko"] == (0o100644, lzma.decompress(path.read_bytes()))
    second, again = await image.own_initrd(version)
    assert (again, second) == (archive, first)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        (".xz", lzma.compress),
        (".gz", gzip.compress),
        (".zst", lambda data: zstandard.ZstdCompressor().compress(data)),
        ("", bytes),
    ],
)
async def test_modules_are_decompressed(image: ImageReader, suffix: str, compress: object) -> None:
    assert callable(compress)
    contents = {**_BUILT_IN, f"kernel/virtio-rng.ko{suffix}": compress(small_module())}
    assert await _loaded(image, contents) == ["/lib/virtio-rng.ko"]
    _, archive = await image.own_initrd(VERSION)
    assert members(archive)["lib/virtio-rng.ko"][1] == small_module()


async def test_needed_modules_come_first_and_once(image: ImageReader) -> None:
    contents = {
        **_BUILT_IN,
        "kernel/virtio_net.ko": small_module(["net_failover", "shared-one"]),
        "kernel/net_failover.ko": small_module(["failover"]),
        "kernel/failover.ko": small_module(["shared_one"]),
        "kernel/shared_one.ko": small_module(),
    }
    assert await _loaded(image, contents) == [
        *("/lib/shared_one.ko", "/lib/failover.ko", "/lib/net_failover.ko", "/lib/virtio_net.ko"),
    ]


async def test_modules_dep_that_lies_has_no_effect(image: ImageReader) -> None:
    lies = (
        b"kernel/virtio_net.ko: kernel/evil.ko ../../../../etc/shadow kernel/missing.ko\n"
        b"kernel/evil.ko: kernel/virtio_net.ko\n/etc/passwd: kernel/virtio_net.ko\n"
    )
    contents = {
        **_BUILT_IN,
        "modules.dep": lies,
        "kernel/virtio_net.ko": small_module(["failover"]),
        "kernel/failover.ko": small_module(),
        "kernel/evil.ko": small_module(),
    }
    assert await _loaded(image, contents) == ["/lib/failover.ko", "/lib/virtio_net.ko"]


async def test_update_replaces_a_module(image: ImageReader) -> None:
    contents = {
        **_BUILT_IN,
        "kernel/evdev.ko": small_module(),
        "updates/dkms/evdev.ko": small_module(["other"]),
        "extra/other.ko": small_module(),
    }
    assert await _loaded(image, contents) == ["/lib/other.ko", "/lib/evdev.ko"]


async def test_symlinks_among_modules_are_not_followed(image: ImageReader) -> None:
    kernel = [directory("boot"), file(f"boot/vmlinuz-{VERSION}", small_kernel())]
    top = f"usr/lib/modules/{VERSION}"
    links = [symlink(f"{top}/build", "/"), symlink(f"{top}/evdev.ko", "/etc/shadow")]
    await image.build([*kernel, *modules(_BUILT_IN), *links])
    _, archive = await image.own_initrd(VERSION)
    assert members(archive)["modules"][1] == b""


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (
            {
                "kernel/virtio_net.ko": small_module(["failover"]),
                "kernel/failover.ko": small_module(["virtio_net"]),
            },
            'has modules that need each other: "virtio_net", "failover", "virtio_net"',
        ),
        ({"kernel/evdev.ko": small_module(["evdev"])}, 'need each other: "evdev", "evdev"'),
        (
            {"kernel/evdev.ko": small_module(["none"])},
            r'file "kernel/evdev\.ko" .* the module "none" that it needs is missing',
        ),
        (
            {"kernel/evdev.ko": small_module(["../../etc/passwd"])},
            r'the module "\.\./\.\./etc/passwd" that it needs is missing',
        ),
        (
            {f"m{n}.ko": small_module([f"m{n + 1}"]) for n in range(200)}
            | {"m200.ko": small_module(), "evdev.ko": small_module(["m0"])},
            "need more than 128 modules",
        ),
        ({"evdev.ko": b"garbage"}, "it is not a kernel module"),
        ({"evdev.ko": small_module()[:-1]}, "it is cut off"),
        ({"evdev.ko": small_module()[:64]}, "it is cut off"),
        ({"evdev.ko.xz": lzma.compress(bytes(33 * MIB))}, "it unpacks to more than 32 MiB"),
        ({"evdev.ko.gz": gzip.compress(bytes(33 * MIB))}, "it unpacks to more than 32 MiB"),
        (
            {"evdev.ko.zst": zstandard.ZstdCompressor().compress(bytes(33 * MIB))},
            "it unpacks to more than 32 MiB",
        ),
        ({"evdev.ko": bytes(33 * MIB)}, "it has more than 32 MiB"),
        ({"evdev.ko.xz": lzma.compress(small_module())[:-20]}, "compressed data"),
        ({"evdev.ko.gz": gzip.compress(small_module())[:-20]}, "compressed data end too early"),
        ({"evdev.ko.zst": b"garbage"}, "compressed data are damaged"),
        ({"evdev.ko.xz": b"garbage" * 10}, "compressed data are damaged"),
        ({"modules.builtin": bytes(5 * MIB)}, "more than 4 MiB"),
    ],
)
async def test_unusable_modules_are_refused(
    image: ImageReader, contents: Mapping[str, bytes], problem: str
) -> None:
    await _build(image, {**_BUILT_IN, **contents})
    with pytest.raises(InvalidArgument, match=problem):
        await image.own_initrd(VERSION)


async def test_kernel_without_a_driver_for_disks_is_refused(image: ImageReader) -> None:
    await _build(image, {"modules.builtin": b"kernel/drivers/virtio_pci.ko\n"})
    with pytest.raises(NoKernel, match='has no driver "virtio_blk", which a virtual machine'):
        await image.own_initrd(VERSION)


async def test_directories_that_are_too_deep_are_refused(image: ImageReader) -> None:
    await _build(image, {**_BUILT_IN, "/".join("d" * 20) + "/evdev.ko": small_module()})
    with pytest.raises(InvalidArgument, match="it has too many files or directories"):
        await image.own_initrd(VERSION)
