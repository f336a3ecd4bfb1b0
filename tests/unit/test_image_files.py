# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backing files of real image files, and files that must never be opened."""

import json
import os
import pickle
import stat
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.bus.polkit import open_directory
from tests.support.directory_user import as_nobody
from tests.support.leftovers import children
from tests.support.pool_user import qemu_img
from virtlayer.errors import InUse
from virtlayer.keeper import image_files
from virtlayer.keeper.headers import HeaderReader, header_reader
from virtlayer.keeper.image_files import ImageFiles, Reference


@pytest.fixture
async def reader() -> AsyncIterator[HeaderReader]:
    async with header_reader() as reader:
        yield reader


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base_odd.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", str(path), "1M")
    return path


def overlay(
    path: Path, backing: str, *, backing_format: str = "qcow2", kind: str = "qcow2"
) -> Path:
    """Make an overlay of a name, which is not looked at."""
    create = ("create", "-q", "-u", "-f", kind, "-F", backing_format, "-b", backing)
    qemu_img(*create, str(path), "1M")
    return path


def header(backing: bytes) -> bytes:
    """The header of an overlay of any name, as qemu-img would not write it."""
    start = struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 112, len(backing), 16, 1 << 20)
    return start.ljust(112, b"\0") + backing


async def needed(reader: HeaderReader, path: Path, image_format: str | None = None) -> list[Path]:
    """Which other files an image needs, by their resolved paths."""
    files, reference = ImageFiles(reader), Reference(path, image_format)
    await files.look_at([reference])
    first, *rest = files.needed_by(reference)
    info = path.stat()
    assert first == (info.st_dev, info.st_ino)
    by_identity = {(one.stat().st_dev, one.stat().st_ino): one for one in path.parent.iterdir()}
    return [by_identity[file] for file in rest]


async def refused(reader: HeaderReader, path: Path, image_format: str | None = None) -> str:
    with pytest.raises(InUse) as caught:
        await ImageFiles(reader).look_at([Reference(path, image_format)])
    return str(caught.value)


@pytest.mark.parametrize("kind", ["qcow2", "qed", "qcow"])
async def test_overlay_of_each_format_needs_its_backing_file(
    reader: HeaderReader, tmp_path: Path, base: Path, kind: str
) -> None:
    above = overlay(tmp_path / "overlay", str(base), kind=kind)
    assert await needed(reader, above, kind) == [base]
    assert await needed(reader, above) == [base]


async def test_relative_name_is_next_to_the_overlay(
    reader: HeaderReader, tmp_path: Path, base: Path
) -> None:
    assert await needed(reader, overlay(tmp_path / "overlay.qcow2", base.name)) == [base]


async def test_missing_backing_file_ends_the_chain(reader: HeaderReader, tmp_path: Path) -> None:
    for name in ("gone", "overlay.qcow2/below", "x" * 300):
        path = tmp_path / "overlay.qcow2"
        path.write_bytes(header(name.encode()))
        assert await needed(reader, path) == []
    missing = Reference(tmp_path / "missing", "qcow2")
    files = ImageFiles(reader)
    await files.look_at([missing])
    assert list(files.needed_by(missing)) == []


async def test_data_file_is_needed(reader: HeaderReader, tmp_path: Path) -> None:
    data, image = tmp_path / "data", tmp_path / "image.qcow2"
    options = f"data_file={data},data_file_raw=on"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, str(image), "1M")
    assert await needed(reader, image) == [data]


async def test_raw_image_needs_nothing(reader: HeaderReader, tmp_path: Path, base: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(1024))
    above = overlay(tmp_path / "above.qcow2", base.name)
    top = overlay(tmp_path / "top.qcow2", above.name, backing_format="raw")
    assert await needed(reader, raw) == []
    assert await needed(reader, base) == []
    assert await needed(reader, above, "raw") == []
    assert await needed(reader, top) == [above]


@pytest.mark.parametrize(
    "name", ["nbd://elsewhere.example/base", "rbd:pool/image", "https://elsewhere.example/a.qcow2"]
)
async def test_backing_file_of_another_machine_ends_the_chain(
    reader: HeaderReader, tmp_path: Path, name: str
) -> None:
    assert await needed(reader, overlay(tmp_path / "top.qcow2", name, backing_format="raw")) == []


@pytest.mark.parametrize(
    "name",
    [
        b"json:{",
        b'json:{"driver": "qcow2", "file.filename": "base_odd.qcow2"}',
        b"json:" + b"[" * 1000,
        b"file:base_odd.qcow2",
        b"blkdebug::base_odd.qcow2",
        b"unheard-of:base_odd.qcow2",
    ],
)
async def test_name_that_is_not_a_path_is_in_use(
    reader: HeaderReader, tmp_path: Path, base: Path, name: bytes
) -> None:
    path = tmp_path / "odd.qcow2"
    path.write_bytes(header(name))
    text = await refused(reader, path)
    assert f"the image {path} needs" in text
    assert "is not a path" in text
    assert base.exists()


async def test_name_with_control_characters_is_escaped(
    reader: HeaderReader, tmp_path: Path
) -> None:
    path = tmp_path / "odd.qcow2"
    path.write_bytes(header(b"json:\n\x1b[2J\xff"))
    text = await refused(reader, path)
    assert text.isprintable()
    assert "json:\\x0a\\x1b[2J\\udcff" in text


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir])
async def test_fifo_or_directory_as_backing_file_is_not_opened(
    reader: HeaderReader, tmp_path: Path, put: Callable[[Path, int], None]
) -> None:
    put(tmp_path / "odd", 0o600)
    assert await needed(reader, overlay(tmp_path / "top.qcow2", "odd")) == [tmp_path / "odd"]


@pytest.mark.root
async def test_device_as_backing_file_is_in_use(reader: HeaderReader, tmp_path: Path) -> None:
    os.mknod(tmp_path / "device", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    text = await refused(reader, overlay(tmp_path / "top.qcow2", "device"))
    assert "is a device that the header of another image names" in text


@pytest.mark.root
async def test_files_that_the_kernel_makes_up_are_not_read(
    reader: HeaderReader, tmp_path: Path
) -> None:
    # Reading the first would take the kernel's messages from who reads them, or wait for one.
    for name in ("/proc/kmsg", "/proc/kcore", "/sys/kernel/notes"):
        files = ImageFiles(reader)
        top = Reference(overlay(tmp_path / "top.qcow2", name), None)
        await files.look_at([top])
        assert len(list(files.needed_by(top))) <= 2


async def test_images_that_back_each_other_end_the_search(
    reader: HeaderReader, tmp_path: Path
) -> None:
    one = overlay(tmp_path / "one.qcow2", "two.qcow2")
    two = overlay(tmp_path / "two.qcow2", "one.qcow2")
    itself = overlay(tmp_path / "itself.qcow2", "./itself.qcow2")
    assert set(await needed(reader, one)) == {one, two}
    assert set(await needed(reader, itself)) == {itself}


async def test_cycle_through_directories_ends_the_search(
    reader: HeaderReader, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    one = overlay(tmp_path / "one.qcow2", "d/../one.qcow2")
    assert set(await needed(reader, one)) == {one}


async def test_very_long_chain_is_followed_to_its_end(reader: HeaderReader, tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(bytes(512))
    for number in range(1, 3000):
        (tmp_path / str(number)).write_bytes(header(b"%d" % (number - 1)))
    assert len(await needed(reader, tmp_path / "2999")) == 2999


async def test_search_that_takes_too_long_is_in_use(
    reader: HeaderReader, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "_SECONDS", 0)
    assert "took longer than 0 s" in await refused(reader, base)
    assert tmp_path.exists()


async def test_thousand_headers_are_read_by_one_process(
    reader: HeaderReader, tmp_path: Path, base: Path
) -> None:
    paths = [tmp_path / f"{number}.qcow2" for number in range(1000)]
    for path in paths:
        path.write_bytes(header(base.name.encode()))
    files = ImageFiles(reader)
    references = [Reference(path, None) for path in paths]
    before = children()
    await files.look_at(references)
    assert len(children() - before) == 1
    identity = base.stat().st_dev, base.stat().st_ino
    assert all(list(files.needed_by(one))[1:] == [identity] for one in references)


async def test_header_that_cannot_be_understood_is_in_use(
    reader: HeaderReader, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.qcow2"
    broken.write_bytes(b"QFI\xfb")
    assert f"the image {broken} needs" in await refused(reader, broken)


async def test_backing_file_of_unexpected_format_is_in_use(
    reader: HeaderReader, tmp_path: Path
) -> None:
    (tmp_path / "base").write_bytes(b"not a qcow2 at all")
    text = await refused(reader, overlay(tmp_path / "top.qcow2", "base"))
    assert f"the image {tmp_path / 'base'} needs, because it is not a qcow2 image" in text


async def test_inaccessible_device_may_need_any_volume(reader: HeaderReader) -> None:
    device = Path("/dev/virtlayer-test/volume")
    await ImageFiles(reader).look_at([Reference(device, "raw")])
    assert "has no access to that device" in await refused(reader, device, "qcow2")


async def test_process_that_ends_is_in_use(
    reader: HeaderReader, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "the process that reads image headers ended" in await refused(reader, base)


# ---- what the keeper's user may not read ----

_AS_USER = """
import asyncio, pathlib, pickle, sys
from virtlayer.errors import InUse
from virtlayer.keeper.headers import header_reader
from virtlayer.keeper.image_files import ImageFiles, Reference

async def main():
    async with header_reader() as reader:
        await ImageFiles(reader).look_at([Reference(pathlib.Path(sys.argv[1]), None)])

try:
    asyncio.run(main())
except InUse as error:
    sys.stdout.buffer.write(pickle.dumps(str(error)))
"""


@pytest.mark.root
@pytest.mark.parametrize("closed", ["directory", "file"])
def test_backing_file_that_cannot_be_read_is_in_use(closed: str) -> None:
    with open_directory() as place:
        (place / "directory").mkdir()
        (place / "directory" / "file").write_bytes(bytes(512))
        (place / "top.qcow2").write_bytes(header(b"directory/file"))
        (place / "directory" / "file").chmod(0o600)
        (place / "directory").chmod(0o700 if closed == "directory" else 0o755)
        command = as_nobody(sys.executable, "-I", "-c", _AS_USER, place / "top.qcow2")
        done = subprocess.run(command, capture_output=True, check=True)
    text = pickle.loads(done.stdout)  # noqa: S301 -- our own process wrote it
    assert f"the image {place}/directory/file needs" in text
    assert "cannot be opened (Permission denied)" in text


_LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.root
async def test_lease_on_a_file_does_not_hold_up_the_search(
    reader: HeaderReader, tmp_path: Path
) -> None:
    path = overlay(tmp_path / "leased.qcow2", "gone")
    holder = subprocess.Popen(
        [sys.executable, "-c", _LEASE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert "cannot be opened" in await refused(reader, path)


def test_names_are_json_to_qemu_as_well(tmp_path: Path, base: Path) -> None:
    """Check that the refused files are files that QEMU would open."""
    name = "json:" + json.dumps({"driver": "qcow2", "file.filename": str(base)})
    above = overlay(tmp_path / "top.qcow2", name)
    assert "base_odd" in qemu_img("info", "--backing-chain", str(above))
