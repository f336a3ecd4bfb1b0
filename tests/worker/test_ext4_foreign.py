# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems that others have made or changed: they are refused, or read within their bounds."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.archives import archive, entry
from tests.support.images import layer
from tests.support.keeper import LocalPrograms
from tests.support.volumes import SIZE, apply_layer, format_volume, served
from virtlayer.errors import Internal
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings
from virtlayer.worker.ext4.editing import EditableExt4
from virtlayer.worker.ext4.filesystem import ROOT, Ext4Filesystem
from virtlayer.worker.ext4.library import Ext4Error, ForeignFilesystem
from virtlayer.worker.tree import Metadata

_METADATA = Metadata(0o755, 0, 0, 0)
_OURS = "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg"
_MORE = "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"


class _Content:
    """Some bytes in one piece."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self.size = len(content)
        self.segments = [(0, len(content))]

    def pieces(self, length: int) -> Iterator[memoryview]:
        yield self._content[:length]

    def whole(self) -> memoryview:
        return self._content


def _make(volume: Path, *options: str, features: str = "") -> None:
    features = f"none,{_OURS},{_MORE}{features}"
    argv: list[str | Path] = ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", features]
    subprocess.run([*argv, *options, volume, "256M"], check=True)


def _debugfs(volume: Path, *commands: str) -> None:
    script = volume.with_suffix(".debugfs")
    script.write_text("".join(f"{command}\n" for command in commands))
    argv: list[str | Path] = ["debugfs", "-w", "-f", script, volume]
    subprocess.run(argv, check=True, capture_output=True)


async def _use(volume: Path, use: Callable[[EditableExt4], None]) -> None:
    async with served(volume) as connection:
        with EditableExt4.opened(connection.dup()) as filesystem:
            use(filesystem)


@pytest.mark.parametrize(
    ("options", "features", "problem"),
    [
        (["-b", "1024"], "", "blocks"),
        (["-b", "2048"], "", "blocks"),
        (["-I", "128"], ",^extra_isize", "inodes"),
        (["-I", "1024"], "", "inodes"),
        (["-C", "65536"], ",bigalloc", "blocks"),
        ([], ",inline_data", "features"),
        ([], ",^metadata_csum", "features"),
        ([], ",^64bit", "features"),
        ([], ",^has_journal", "features"),
        ([], ",^extent,^64bit", "features"),
        ([], ",encrypt", "features"),
        ([], ",casefold", "features"),
        ([], ",metadata_csum_seed", "features"),
        ([], ",ea_inode", "features"),
        ([], ",quota", "features"),
        (["-g", "16384"], "", "groups"),
        (["-G", "32"], "", "groups"),
        ([], "", "hashes"),
    ],
)
async def test_another_geometry_is_refused(
    options: list[str], features: str, problem: str, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    _make(volume, *options, features=features)
    with pytest.raises(ForeignFilesystem, match=problem):
        await _use(volume, lambda _: None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("set_super_value flags 1", "hashes"),
        ("set_super_value def_hash_version tea", "hashes"),
        ("set_super_value feature_incompat 0x2c6", "journal"),
        ("set_super_value log_groups_per_flex 5", "groups"),
        ("set_super_value first_ino 12", "inodes"),
    ],
)
async def test_a_changed_geometry_is_refused(change: str, problem: str, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    await format_volume(volume, SIZE, "foreign", lambda _: None)
    _debugfs(volume, change)
    with pytest.raises(ForeignFilesystem, match=problem):
        await _use(volume, lambda _: None)


async def test_a_file_system_larger_than_its_volume_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    await format_volume(volume, SIZE, "foreign", lambda _: None)
    os.truncate(volume, SIZE // 2)
    with pytest.raises(ForeignFilesystem, match="larger than its volume"):
        await _use(volume, lambda _: None)


async def test_volume_without_ext4_is_refused(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.write_bytes(os.urandom(SIZE))
    with pytest.raises(Ext4Error, match="magic number"):
        await _use(volume, lambda _: None)


async def test_a_layer_on_a_foreign_file_system_is_a_clear_error(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    _make(volume, "-b", "1024")
    content = layer(raw=archive(entry("f", b"1")), compression="none")
    message = "that virtlayer did not create: its blocks do not have 4096 bytes"
    with pytest.raises(Internal, match=message):
        await apply_layer(worker, volume, content, format_size=None)


# ---- nodes that are not as they should be ----


def _fill(filesystem: Ext4Filesystem) -> None:
    filesystem.add_symlink(ROOT, b"fast", _METADATA, b"t" * 59)
    filesystem.add_symlink(ROOT, b"slow", _METADATA, b"t" * 60)
    filesystem.add_directory(ROOT, b"directory", _METADATA)
    filesystem.add_file(ROOT, b"file", _METADATA, _Content(b"x" * 5000))


def _node(filesystem: Ext4Filesystem, name: bytes) -> int:
    found = filesystem.find(ROOT, name)
    assert found is not None
    return found.node


@pytest.fixture
async def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    await format_volume(path, SIZE, "foreign", _fill)
    return path


@pytest.mark.parametrize(
    ("symlink", "size"),
    [
        *(("fast", size) for size in (60, 61, 4096, 2**40)),
        *(("slow", size) for size in (4096, 4097, 65536, 2**40)),
    ],
)
async def test_a_symlink_of_a_wrong_size_is_an_error(volume: Path, symlink: str, size: int) -> None:
    def see(filesystem: EditableExt4) -> None:
        with pytest.raises(Ext4Error, match="the size of a symlink is wrong"):
            filesystem.target(_node(filesystem, symlink.encode()))

    _debugfs(volume, f"set_inode_field /{symlink} size {size}")
    await _use(volume, see)


async def test_symlinks_are_read_to_their_size(volume: Path) -> None:
    def see(filesystem: EditableExt4) -> None:
        assert filesystem.target(_node(filesystem, b"fast")) == b"t" * 59
        assert filesystem.target(_node(filesystem, b"slow")) == b"t" * 4095

    _debugfs(volume, "set_inode_field /slow size 4095")
    content = volume.read_bytes().replace(b"t" * 60 + b"\0" * 4036, b"t" * 4096)
    volume.write_bytes(content)
    await _use(volume, see)


def _names(filesystem: EditableExt4) -> object:
    return filesystem.names(_node(filesystem, b"directory"))


def _target(filesystem: EditableExt4) -> object:
    return filesystem.target(_node(filesystem, b"directory"))


def _content(filesystem: EditableExt4) -> object:
    return filesystem.content(_node(filesystem, b"directory"), 10000)


def _remove(filesystem: EditableExt4) -> object:
    filesystem.remove(ROOT, b"directory")
    return None


@pytest.mark.parametrize("use", [_names, _target, _content, _remove])
async def test_inode_type_that_differs_from_entry_is_an_error(
    volume: Path, use: Callable[[EditableExt4], object]
) -> None:
    def see(filesystem: EditableExt4) -> None:
        with pytest.raises(Ext4Error, match="disagree about the type"):
            use(filesystem)

    _debugfs(volume, "set_inode_field /directory mode 0010644")
    await _use(volume, see)


async def test_invalid_inode_number_is_an_error(volume: Path) -> None:
    def see(filesystem: EditableExt4) -> None:
        for number in (0, 2**20, 2**32 - 1):
            with pytest.raises(Ext4Error):
                filesystem.names(number)
            with pytest.raises(Ext4Error):
                filesystem.metadata(number)

    await _use(volume, see)


async def test_removing_a_directory_that_is_in_itself_ends(volume: Path) -> None:
    def remove(filesystem: EditableExt4) -> None:
        with pytest.raises(Ext4Error, match="an inode that is not in use"):
            filesystem.remove(ROOT, b"directory")

    _debugfs(volume, "ln /directory /directory/loop")
    await _use(volume, remove)


async def test_hiding_content_of_a_directory_cycle_ends(volume: Path) -> None:
    """An archive that has something in a directory, and a whiteout of it."""
    parts = [entry("directory/loop/new", b"1"), entry(".wh.directory")]
    content = layer(raw=archive(*parts), compression="none")
    _debugfs(volume, "ln /directory /directory/loop")
    async with LayerWorker.started(LocalPrograms(), LayerSettings(cpu_limit=20)) as worker:
        await apply_layer(worker, volume, content, format_size=None)


async def test_blocks_that_were_never_written_read_as_zeroes(volume: Path) -> None:
    def see(filesystem: EditableExt4) -> None:
        content = filesystem.content(_node(filesystem, b"file"), 100_000)
        assert content == b"x" * 5000 + bytes(12288 + 20 - 5000)

    _debugfs(volume, "fallocate /file 2 3", "set_inode_field /file size 12308")
    await _use(volume, see)
