# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a worker says of an image: its kernels, its init, its operating system."""

import pytest

from tests.support.boot_images import VERSION, modules, small_kernel
from tests.support.images import Entry, directory, fifo, file, symlink
from tests.worker.kernel.conftest import ImageReader
from virtlayer.service.workers.kernel import SurveyedKernel

_DEBIAN_13 = b'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\n'


def _kernel(version: str = VERSION, *, initrd: bool = False, modules: bool = False) -> object:
    return SurveyedKernel(version=version, initrd=initrd, modules=modules)


async def test_image_without_kernel_and_init(image: ImageReader) -> None:
    await image.build([file("hello", b"")])
    found = await image.survey()
    assert (found.init, found.os_id, found.kernels) == (False, "", ())


async def test_debian_with_kernel_and_initrd(image: ImageReader) -> None:
    await image.build(
        [
            *modules({}),
            *(directory("boot"), directory("etc"), directory("usr/sbin")),
            symlink("sbin", "usr/sbin"),
            symlink("usr/sbin/init", "../lib/systemd"),
            file("usr/lib/systemd", b"", mode=0o755),
            symlink("lib", "usr/lib"),
            file("usr/lib/os-release", _DEBIAN_13),
            symlink("etc/os-release", "../usr/lib/os-release"),
            file(f"boot/vmlinuz-{VERSION}", small_kernel()),
            file(f"boot/initrd.img-{VERSION}", b"070701"),
            symlink("vmlinuz", f"boot/vmlinuz-{VERSION}"),
            symlink("boot/vmlinuz", f"vmlinuz-{VERSION}"),
        ]
    )
    found = await image.survey()
    assert found.init
    assert found.os_id == "http://debian.org/debian/13"
    assert found.kernels == (_kernel(initrd=True, modules=True),)


async def test_bootc_image(image: ImageReader) -> None:
    await image.build(
        modules({"vmlinuz": small_kernel(), "initramfs.img": b"070701", "modules.dep": b""})
    )
    assert (await image.survey()).kernels == (_kernel(initrd=True, modules=True),)


@pytest.mark.parametrize("initrd", ["initramfs-{}.img", "initrd-{}", "initramfs-{}"])
async def test_names_of_initrds(image: ImageReader, initrd: str) -> None:
    await image.build(
        [
            directory("boot"),
            file(f"boot/vmlinuz-{VERSION}", small_kernel()),
            file(f"boot/{initrd.format(VERSION)}", b"070701"),
        ]
    )
    assert (await image.survey()).kernels == (_kernel(initrd=True),)


async def test_several_kernels_are_sorted_and_rescue_kernel_is_ignored(image: ImageReader) -> None:
    await image.build(
        [
            directory("boot"),
            *(file(f"boot/vmlinuz-{one}", b"") for one in ("6.2", "6.1", "0-rescue-12ab")),
            *modules({}, version="6.2", parent="lib/modules"),
        ]
    )
    assert (await image.survey()).kernels == (_kernel("6.1"), _kernel("6.2", modules=True))


async def test_kernel_that_is_called_after_its_flavour(image: ImageReader) -> None:
    """As in Alpine."""
    await image.build(
        [
            directory("boot"),
            file("boot/vmlinuz-virt", small_kernel("6.12.1-0-virt")),
            file("boot/initramfs-virt", b"070701"),
            *modules({}, version="6.12.1-0-virt", parent="lib/modules"),
        ]
    )
    assert (await image.survey()).kernels == (_kernel("6.12.1-0-virt", initrd=True, modules=True),)


@pytest.mark.parametrize(
    "init",
    [
        symlink("sbin/init", "/sbin/other"),
        symlink("sbin/init", "init"),
        directory("sbin/init"),
        fifo("sbin/init"),
    ],
)
async def test_something_else_than_a_file_is_not_an_init(image: ImageReader, init: Entry) -> None:
    await image.build([directory("sbin"), init])
    assert not (await image.survey()).init


@pytest.mark.parametrize(
    "content",
    [
        b'ID=debian\nVERSION_ID="13\'/><devices><!--"\n',
        b"ID=debian/>\nVERSION_ID=13\n",
        b"ID=debian\nVERSION_ID=\xff13\n",
        b"ID=debian\nVERSION_ID=13\nVERSION_ID=$(reboot)x1\0\nVERSION_ID=sid\n",
        b"\0" * 1000,
        b"ID=debian\nVERSION_ID=13\n" + b"#" * 70000,
    ],
)
async def test_os_release_with_markup_or_garbage_is_unknown(
    image: ImageReader, content: bytes
) -> None:
    await image.build([directory("etc"), file("etc/os-release", content)])
    assert (await image.survey()).os_id == ""
