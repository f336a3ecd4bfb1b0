# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file system itself, as e2fsprogs and the kernel see it."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.archives import (
    archive,
    directory,
    entry,
    hardlink,
    named,
    old_sparse,
    pax,
    sparse_1_0,
    symlink,
)
from tests.support.images import LayerContent, layer
from tests.support.privileges import call_as_root
from tests.support.trees import mounted
from tests.support.volumes import (
    SIZE,
    apply_layer,
    assert_sound,
    build_at_once,
    build_volume,
    fingerprint,
)
from virtlayer.errors import MalformedLayer, NoSpace
from virtlayer.service.workers.layer import LayerWorker

_SMALL = 64 * 1024 * 1024


def _layer(*parts: bytes) -> LayerContent:
    return layer(raw=archive(*parts), compression="none")


def _superblock(volume: Path) -> dict[str, str]:
    output = subprocess.run(["dumpe2fs", "-h", volume], capture_output=True, text=True, check=True)
    lines = (line.partition(":") for line in output.stdout.splitlines())
    return {key: value.strip() for key, _, value in lines}


def _free(volume: Path) -> tuple[str, str]:
    fields = _superblock(volume)
    return fields["Free blocks"], fields["Free inodes"]


def _debugfs(volume: Path, command: str) -> str:
    argv: list[str | Path] = ["debugfs", "-R", command, volume]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True)
    return ended.stdout


def _written_clusters(overlay: Path) -> int:
    argv: list[str | Path] = ["qemu-img", "map", "--output=json", overlay]
    extents = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    written: int = sum(extent["length"] for extent in extents if extent["depth"] == 0)
    return written // 65536


def _names(count: int, length: int = 30) -> list[str]:
    return [f"{number:06}".ljust(length, "n") for number in range(count)]


def _segments(count: int) -> bytes:
    segments = [(number * 3 * 4096, 5000) for number in range(count)]
    return sparse_1_0("fragmented", count * 3 * 4096, segments, b"s" * 5000 * count)


_EVERYTHING = [
    directory("many"),
    *(entry(f"many/{name}", b"1") for name in _names(3000)),
    *(named(name, b"x" * 5000) for name in _names(300, 200)),
    _segments(2000),
    old_sparse("hole", 10**9, [(0, 4)], b"data"),
    entry("large", os.urandom(3_000_000)),
    hardlink("large-too", "large"),
    pax({"SCHILY.xattr.user.large": "v" * 3000}) + entry("attributes"),
    pax({"SCHILY.xattr.user.large": "v" * 3000}) + directory("directory"),
    pax({"linkpath": "t" * 200}) + symlink("symlink", "x"),
    entry("null", kind=b"3", device=(1, 3)),
    directory("a/b/c/d/e/f"),
]
_TOP_NAMES = [
    *("many", "fragmented", "hole", "large", "large-too"),
    *("attributes", "directory", "symlink", "null", "a"),
    *_names(300, 200),
]


async def test_everything_deleted_leaves_nothing(worker: LayerWorker, tmp_path: Path) -> None:
    empty, used = tmp_path / "empty", tmp_path / "used"
    whiteouts = [named(f".wh.{name}") for name in _TOP_NAMES]
    await build_volume(worker, empty, [_layer()])

    await build_volume(worker, used, [_layer(*_EVERYTHING), _layer(*whiteouts)])

    assert _free(used) == _free(empty)
    assert _debugfs(used, "ls -p /").split() == _debugfs(empty, "ls -p /").split()


async def test_unchanged_blocks_are_not_written(worker: LayerWorker, tmp_path: Path) -> None:
    """An overlay has what a layer changes, and not every bitmap of the file system."""
    base, overlay = tmp_path / "base", tmp_path / "overlay"
    await build_volume(worker, base, [_layer(directory("d"))], size=8 * 1024**3)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay], check=True
    )

    await apply_layer(worker, overlay, _layer(), format_size=None, image_format="qcow2")
    nothing = _written_clusters(overlay)
    await apply_layer(
        worker, overlay, _layer(entry("d/f", b"1")), format_size=None, image_format="qcow2"
    )

    assert nothing == 0
    # The superblock with the descriptors, two bitmaps, the inodes, the directory, and the file.
    assert _written_clusters(overlay) <= 6


async def test_everything_opaque_and_again_costs_the_same(
    worker: LayerWorker, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    await build_volume(worker, once, [_layer(*_EVERYTHING)])

    await build_volume(
        worker, twice, [_layer(*_EVERYTHING), _layer(entry(".wh..wh..opq")), _layer(*_EVERYTHING)]
    )

    assert _free(once) == _free(twice)


async def test_replacing_a_directorys_attributes_leaks_nothing(
    worker: LayerWorker, tmp_path: Path
) -> None:
    large = pax({"SCHILY.xattr.user.large": "v" * 3000}) + directory("d")
    one, other = tmp_path / "one", tmp_path / "other"
    await build_volume(worker, one, [_layer(directory("d"))])

    await build_volume(worker, other, [_layer(large), _layer(large), _layer(directory("d"))])

    assert _free(one) == _free(other)


async def test_volume_does_not_depend_on_chunking_of_content(
    worker: LayerWorker, tmp_path: Path
) -> None:
    """A file that is in memory in one piece goes there in one call, another one in many."""
    whole, in_pieces = tmp_path / "whole", tmp_path / "pieces"
    sizes = (0, 1, 4095, 4096, 4097, 8192, 100_000, 2_000_000, 3, 20_000)
    parts = [
        *(entry(f"{size}", os.urandom(size)) for size in sizes),
        pax({"SCHILY.xattr.user.large": "v" * 3000}) + entry("attributes", b"a" * 5000),
        *(entry(f"many/{name}", name.encode() * 50) for name in _names(2500)),
    ]
    raw = archive(*parts)
    # A member of gzip ends a piece.
    members = (raw[at : at + 3000] for at in range(0, len(raw), 3000))
    blob = b"".join(gzip.compress(member, 1) for member in members)

    await build_volume(worker, whole, [_layer(*parts)])
    await build_volume(worker, in_pieces, [layer(raw=raw, blob=blob)])

    assert fingerprint(whole) == fingerprint(in_pieces)


async def test_directory_and_file_in_the_holes_of_a_full_file_system(
    worker: LayerWorker, tmp_path: Path
) -> None:
    """Neither has its blocks in four pieces then."""
    volume = tmp_path / "volume"
    files = _names(3500, 20)
    await build_volume(
        worker,
        volume,
        [_layer(directory("d"), *(entry(f"d/{name}", b"x" * 12288) for name in files))],
        size=_SMALL,
    )
    rest = (int(_free(volume)[0]) - 1) * 4096
    steps = [
        _layer(entry("rest", b"r" * rest)),
        _layer(*(entry(f"d/.wh.{name}") for name in files[::2])),
        _layer(
            entry("origin"), *(hardlink(f"links/{name}", "origin") for name in _names(4000, 90))
        ),
        _layer(entry("file", b"f" * 4096 * 500)),
        _layer(*(hardlink(f"links/{name}x", "origin") for name in _names(2000, 80))),
        _layer(*(entry(f"links/.wh.{name}") for name in _names(4000, 90))),
        _layer(entry(".wh.links"), entry(".wh.file"), entry(".wh.d"), entry(".wh.rest")),
    ]
    for step in steps[:3]:
        await apply_layer(worker, volume, step, format_size=None)
        assert_sound(volume)
    extents = len(re.findall(r"^ +\d+/", _debugfs(volume, "ex /links"), re.MULTILINE))
    assert extents > 20
    for step in steps[3:]:
        await apply_layer(worker, volume, step, format_size=None)
        assert_sound(volume)
    with mounted(volume, tmp_path / "mnt") as root:
        assert [path.name for path in root.iterdir()] == ["origin"]


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([entry("too-large", bytes(_SMALL))], '"too-large" needs more'),
        ([entry(f"many/{name}") for name in _names(5000)], '0 inodes are free, .*"many/004'),
    ],
    ids=["blocks", "inodes"],
)
async def test_full_file_system_is_a_clear_error(
    parts: list[bytes], problem: str, worker: LayerWorker, tmp_path: Path
) -> None:
    with pytest.raises(NoSpace, match=problem):
        await build_volume(worker, tmp_path / "volume", [_layer(*parts)], size=_SMALL)


async def test_superblock(worker: LayerWorker, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    await build_volume(worker, volume, [_layer(*_EVERYTHING)])

    fields = _superblock(volume)

    # All of them are in Linux 3.18, the oldest kernel that may write here (metadata_csum).
    assert set(fields["Filesystem features"].split()) == {
        *("has_journal", "ext_attr", "resize_inode", "dir_index"),
        *("filetype", "extent", "64bit", "flex_bg"),
        *("sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum"),
    }
    assert fields["Filesystem state"] == "clean"
    assert fields["Errors behavior"] == "Continue"
    assert fields["Default directory hash"] == "half_md4"
    assert fields["Inode size"] == "256"
    assert int(fields["Reserved block count"]) == SIZE // 4096 // 100
    assert fields["Check interval"].startswith("0 ")
    assert fields["Journal start"] == "0"  # nothing to replay
    assert fields["Total journal blocks"] == "4096"
    assert "lost+found" not in _debugfs(volume, "ls -p /")


async def test_files_are_contiguous(worker: LayerWorker, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    sizes = [(number * 7919) % 200_000 for number in range(400)]
    first = [entry(f"d{number % 9}/{number}", b"x" * size) for number, size in enumerate(sizes)]
    second = [entry(f"d{number % 9}/{number}", b"y" * size) for number, size in enumerate(sizes)]

    await build_volume(worker, volume, [_layer(*first), _layer(*second[::3])])

    output = subprocess.run(["e2fsck", "-fn", volume], capture_output=True, text=True, check=True)
    figures = re.search(r"\(([0-9.]+)% non-contiguous\)", output.stdout)
    assert figures
    assert float(figures[1]) < 0.5


async def test_large_directories_are_indexed(worker: LayerWorker, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    names = {f"long/{name}" for name in _names(600, 250)} | {f"d/{name}" for name in _names(20_000)}
    parts = [hardlink(name, "file") for name in sorted(names, key=lambda name: name[::-1])]
    top = [entry(f"d/.wh.{name}") for name in _names(20_000)[::7]]
    gone = {f"d/{name}" for name in _names(20_000)[::7]}
    encoded = [
        part if len(name) <= 100 else pax({"path": name}) + part
        for name, part in zip(sorted(names, key=lambda name: name[::-1]), parts, strict=True)
    ]

    await build_volume(worker, volume, [_layer(entry("file"), *encoded), _layer(*top)])

    assert "Htree" in _debugfs(volume, "htree_dump /d") or "Root node" in _debugfs(
        volume, "htree_dump /d"
    )
    with mounted(volume, tmp_path / "mnt") as root:
        for name in names:
            assert (root / name).exists() == (name not in gone)
            assert not (root / f"{name[:-1]}m").exists()
        sizes = {name: (root / name).stat().st_size for name in ("d", "long")}
    # e2fsck -D packs directories anew; ours leave it nothing to gain.
    packed = tmp_path / "packed"
    shutil.copy(volume, packed)
    subprocess.run(["e2fsck", "-fyD", packed], capture_output=True, check=False)
    with mounted(packed, tmp_path / "mnt") as root:
        assert all((root / name).stat().st_size >= size for name, size in sizes.items())


_USE = """
import shutil, subprocess, sys
from pathlib import Path

volume, root = map(Path, sys.argv[1:3])
subprocess.run(["mount", "-o", "loop", volume, root], check=True)
try:
    for name in sys.argv[3:]:
        (root / f"many/{name}-kernel").write_bytes(b"k" * 5000)
        (root / "many" / name).unlink()
    (root / "fragmented").write_bytes(b"f" * 10_000_000)
    shutil.rmtree(root / "a")
finally:
    subprocess.run(["umount", root], check=True)
"""


def _go_on_in_kernel(volume: Path, root: Path) -> None:
    # In a mount namespace that no other process copies: it would keep the file system mounted.
    private = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", _USE]
    subprocess.run([*private, volume, root, *_names(3000)], check=True)


async def test_kernel_goes_on_where_the_layers_end(worker: LayerWorker, tmp_path: Path) -> None:
    volume, root = tmp_path / "volume", tmp_path / "mnt"
    await build_volume(worker, volume, [_layer(*_EVERYTHING)])
    root.mkdir()
    call_as_root(_go_on_in_kernel, volume, root)
    assert_sound(volume)

    await apply_layer(
        worker, volume, _layer(entry("many/.wh..wh..opq"), entry("new", b"1")), format_size=None
    )

    assert_sound(volume)


async def test_volume_abandoned_between_its_layers_is_closed(
    worker: LayerWorker, tmp_path: Path
) -> None:
    descriptors = Path(f"/proc/{worker.pid}/fd")
    good = _layer(*_EVERYTHING)
    # A process that starts has files open that it imports.
    await build_volume(worker, tmp_path / "first", [good])
    before = len([*descriptors.iterdir()])
    with pytest.raises(MalformedLayer):
        await build_at_once(worker, tmp_path / "volume", [good, layer(raw=b"x" * 1024), good])
    assert len([*descriptors.iterdir()]) == before
    await build_at_once(worker, tmp_path / "volume", [good, good])
    assert len([*descriptors.iterdir()]) == before
