# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels and initrds are copied out of an image, or refused."""

import dataclasses
import gzip
import hashlib

import pytest

from tests.support.boot_images import VERSION, modules, small_kernel
from tests.support.images import Entry, device, directory, fifo, file, hardlink, symlink
from tests.worker.kernel.conftest import ImageReader
from virtlayer.errors import InvalidArgument
from virtlayer.sizes import GIB, MIB

_KERNEL = f"boot/vmlinuz-{VERSION}"
_INITRD = f"boot/initrd.img-{VERSION}"
_BOOT = directory("boot")


def _sparse(name: str, size: int) -> Entry:
    """A regular file that is a hole."""
    entry = file(name)
    entry.info.size = size
    entry.info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
    }
    header = b"0\n".ljust(512, b"\0")
    entry.info.size = len(header)
    return dataclasses.replace(entry, data=header)


async def test_kernel_and_initrd_keep_their_bytes(image: ImageReader) -> None:
    kernel = small_kernel(size=3 * MIB + 17)
    initrd = gzip.compress(b"070701" * 1000)
    await image.build([_BOOT, file(_KERNEL, kernel), file(_INITRD, initrd)])
    written, content = await image.kernel(VERSION)
    assert content == kernel
    assert written.name == f"kernel-{hashlib.sha256(kernel).hexdigest()}"
    assert written.version == VERSION
    written, content = await image.image_initrd(VERSION)
    assert content == initrd
    assert written.name == f"initrd-{hashlib.sha256(initrd).hexdigest()}"


async def test_sparse_kernel_keeps_its_bytes(image: ImageReader) -> None:
    kernel = small_kernel(size=8192) + bytes(5 * MIB) + b"end"
    await image.build([_BOOT, file(_KERNEL, kernel)])
    assert (await image.kernel(VERSION))[1] == kernel


@pytest.mark.parametrize(
    "links",
    [
        [symlink(_KERNEL, "/usr/kernel")],
        [symlink(_KERNEL, "../../../usr/kernel")],
        [symlink(_KERNEL, "../step"), symlink("step", "usr/kernel")],
        [hardlink(_KERNEL, "usr/kernel")],
    ],
    ids=["absolute", "above-root", "two-steps", "hard-link"],
)
async def test_links_are_followed_inside_the_image(image: ImageReader, links: list[Entry]) -> None:
    kernel = small_kernel()
    await image.build([_BOOT, directory("usr"), file("usr/kernel", kernel), *links])
    assert (await image.kernel(VERSION))[1] == kernel


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (fifo(_KERNEL), "it is a FIFO, not a regular file"),
        (device(_KERNEL, "c", 1, 5), "it is a device, not a regular file"),
        (directory(_KERNEL), "it is a directory, not a regular file"),
        (symlink(_KERNEL, "/etc/shadow"), "it does not exist, or is a symlink to nothing"),
        (symlink(_KERNEL, _KERNEL.removeprefix("boot/")), "its path has a loop of symlinks"),
        (file(_KERNEL, b""), r"it is not a Linux kernel for x86_64 \(bzImage\)"),
        (file(_KERNEL, b"#!/bin/sh\n"), r"it is not a Linux kernel for x86_64 \(bzImage\)"),
        (file(_KERNEL, b"QFI\xfb" + bytes(1000)), "it is not a Linux kernel"),
        (file(_KERNEL, b"MZ" + bytes(1000)), "it is a program for EFI, such as a unified kernel"),
        (file(_KERNEL, small_kernel()[:0x208]), "its header is cut off"),
        (_sparse(_KERNEL, 3 * GIB), "it has more than 256 MiB"),
        (_sparse(_KERNEL, 256 * MIB + 1), "it has more than 256 MiB"),
    ],
)
async def test_something_else_than_a_kernel_is_refused(
    image: ImageReader, entry: Entry, problem: str
) -> None:
    await image.build([_BOOT, entry], size=256 * MIB)
    with pytest.raises(InvalidArgument, match=f'has a file "/{_KERNEL}" .* used: {problem}'):
        await image.kernel(VERSION)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (fifo(_INITRD), "it is a FIFO, not a regular file"),
        (_sparse(_INITRD, 3 * GIB), "it has more than 256 MiB"),
        (file(_INITRD, b"QFI\xfb" + bytes(1000)), r"it is not an initramfs \(a cpio archive"),
        (file(_INITRD, b"/etc/shadow"), r"it is not an initramfs \(a cpio archive"),
    ],
)
async def test_something_else_than_an_initrd_is_refused(
    image: ImageReader, entry: Entry, problem: str
) -> None:
    await image.build([_BOOT, file(_KERNEL, small_kernel()), entry], size=256 * MIB)
    with pytest.raises(InvalidArgument, match=f'has a file "/{_INITRD}" .* used: {problem}'):
        await image.image_initrd(VERSION)


async def test_usable_kernel_next_to_an_unusable_one(image: ImageReader) -> None:
    entries = [file("boot/vmlinuz-6.1", small_kernel("6.1")), fifo("boot/vmlinuz-6.2")]
    await image.build([_BOOT, *entries])
    assert [one.version for one in (await image.survey()).kernels] == ["6.1", "6.2"]
    assert (await image.kernel("6.1"))[1] == small_kernel("6.1")


async def test_unknown_version_is_refused(image: ImageReader) -> None:
    await image.build([_BOOT, file(_KERNEL, small_kernel())])
    with pytest.raises(InvalidArgument, match=r'has no kernel of the version "6\.2"'):
        await image.kernel("6.2")
    with pytest.raises(InvalidArgument, match="has no initrd of the kernel"):
        await image.image_initrd(VERSION)
    with pytest.raises(InvalidArgument, match="has no modules of the kernel"):
        await image.own_initrd(VERSION)


async def test_too_many_kernels_are_refused(image: ImageReader) -> None:
    await image.build([_BOOT, *(file(f"boot/vmlinuz-{n}") for n in range(65))])
    with pytest.raises(InvalidArgument, match="has more than 64 kernels"):
        await image.survey()


@pytest.mark.parametrize("name", ["6.1/x", "6.1 2", "-6.1", "6.1\n", "6.1'>", "x" * 129])
async def test_invalid_versions_are_ignored(image: ImageReader, name: str) -> None:
    await image.build(
        [_BOOT, directory("boot/vmlinuz-6.1"), file(f"boot/vmlinuz-{name}"), *modules({})]
    )
    versions = [one.version for one in (await image.survey()).kernels]
    assert versions in ([], ["6.1"])
