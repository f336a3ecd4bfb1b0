# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images of many kinds of entries, compared with what umoci unpacks of them."""

import os
import struct
import tarfile
from pathlib import Path

import pytest
import zstandard

from tests.support.images import (
    LayerContent,
    device,
    directory,
    entry,
    fifo,
    file,
    hardlink,
    image,
    layer,
    opaque,
    symlink,
    whiteout,
    write_layout,
)
from tests.support.trees import differences, umoci_tree
from tests.support.volumes import build_at_once, build_volume, fingerprint, tree_of
from virtlayer.service.workers.layer import LayerWorker

# VFS_CAP_REVISION_2 with cap_net_raw permitted and effective (capabilities(7)).
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
# user::rw-, user:1234:r--, group::r--, mask::r--, other::--- (acl(5), posix_acl_xattr.h).
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *one)
    for one in (
        (1, 6, 0xFFFFFFFF),
        (2, 4, 1234),
        (4, 4, 0xFFFFFFFF),
        (16, 4, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    )
)
_NON_UTF8 = os.fsdecode(b"caf\xe9")
_DEEP = "/".join(f"{'d' * 40}{number:03}" for number in range(60))

_EVERY_KIND = layer(
    directory("./", mode=0o755, uid=1, gid=2),
    directory("bin", mode=0o1777),
    file("bin/su", b"setuid" * 1000, mode=0o4755),
    file("bin/wall", b"setgid", mode=0o2755),
    symlink("sbin", "bin"),
    symlink("long-link", "x" * 200),
    symlink("exactly-60", "y" * 60),
    symlink("exactly-59", "z" * 59),
    directory("dev", mode=0o755),
    device("dev/null", "c", 1, 3, mode=0o666),
    device("dev/sda", "b", 8, 0, mode=0o660, gid=6),
    device("dev/large-minor", "c", 259, 70000),
    fifo("dev/pipe", mode=0o600),
    file("owner", b"x", uid=4294967294, gid=4294967290),
    file("old", b"1", mtime="-1000.5"),
    file("new", b"2", mtime="4102444800.123456789"),
    file("exact", b"3", mtime="1700000000.000000001"),
    file("capable", b"ping", mode=0o755, xattrs={"security.capability": _CAPABILITY}),
    file("attributes", b"", xattrs={"user.one": b"1", "user.two": b"\0\xff" * 40}),
    file("acl", b"", mode=0o640, xattrs={"system.posix_acl_access": ACL}),
    file("large-attribute", b"", xattrs={"user.large": b"v" * 3000}),
    directory("with-attributes", xattrs={"user.dir": b"yes"}),
    file(_NON_UTF8, b"name"),
    file("x" * 255, b"longest name"),
    directory(_DEEP),
    file(f"{_DEEP}/file", b"deep"),
    file("one-block", b"b" * 4096),
    file("one-byte-more", b"b" * 4097),
    file("empty", b""),
    file("megabytes", os.urandom(5 * 1024 * 1024)),
    hardlink("megabytes-too", "megabytes"),
    hardlink("null-too", "dev/null"),
    hardlink("sbin-too", "sbin"),
)


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}/{number:05}-{'n' * (number % 90)}" for number in range(count)]


IMAGES: dict[str, list[LayerContent]] = {
    "every kind": [_EVERY_KIND],
    "zstd": [layer(file("a", b"zstd" * 100_000), compression="zstd")],
    "plain": [layer(file("a", b"plain" * 100_000), compression="none")],
    "hard link to a lower layer": [
        layer(directory("d"), file("d/a", b"content")),
        layer(hardlink("b", "d/a"), hardlink("d/c", "b")),
        layer(whiteout("d/a")),
    ],
    "replacing by another type": [
        layer(
            directory("dir"),
            file("dir/inside", b"1"),
            file("file", b"2"),
            symlink("link", "dir"),
            fifo("pipe"),
            directory("dir2"),
            file("dir2/inside", b"1"),
        ),
        layer(
            file("dir", b"now a file"),
            directory("file"),
            file("file/inside", b"3"),
            file("link", b"no link"),
            symlink("pipe", "file"),
            directory("dir2", mode=0o700),
        ),
    ],
    "whiteouts": [
        layer(
            directory("a"),
            file("a/keep", b"1"),
            file("a/drop", b"2"),
            directory("a/sub"),
            file("a/sub/deep", b"3"),
            file("b", b"4"),
            symlink("c", "b"),
            directory("empty"),
        ),
        layer(directory("a"), whiteout("a/drop"), whiteout("a/sub"), whiteout("b"), whiteout("c")),
        layer(directory("a"), directory("a/sub"), file("a/sub/new", b"5"), whiteout("empty")),
    ],
    "opaque": [
        layer(
            directory("a"),
            file("a/one", b"1"),
            directory("a/sub"),
            file("a/sub/two", b"2"),
            file("beside", b"3"),
        ),
        layer(directory("a", mode=0o711), opaque("a"), file("a/new", b"4")),
    ],
    "opaque after its content": [
        layer(directory("a"), file("a/one", b"1"), file("a/new", b"old")),
        layer(directory("a"), file("a/new", b"4"), opaque("a")),
    ],
    "through symlinks": [
        layer(
            directory("usr"),
            directory("usr/lib"),
            symlink("lib", "usr/lib"),
            symlink("abs", "/usr"),
        ),
        layer(file("lib/new", b"1"), file("abs/lib/other", b"2"), hardlink("third", "lib/new")),
        layer(whiteout("lib/new")),
    ],
    "the last one wins": [
        layer(
            file("a", b"first"),
            file("a", b"second", mode=0o600),
            symlink("b", "a"),
            file("b", b"x"),
        ),
    ],
    "a directory of thousands": [
        layer(directory("many"), *(file(name, b"") for name in _names("many", 3000))),
        layer(
            *(whiteout(name) for name in _names("many", 3000)[::3]),
            *(file(name, b"again") for name in _names("many", 3300)[3000:]),
        ),
    ],
    "dots and slashes": [
        layer(
            entry("./a//b/", tarfile.DIRTYPE, mode=0o750),
            file("/a/./b/../c", b"1"),
            file("../outside", b"2"),
            directory("/"),
        ),
    ],
}


def gzipped(content: LayerContent) -> LayerContent:
    """The layer as umoci knows it: its version in Debian 13 has no zstd."""
    match content.media_type.rpartition("+")[2]:
        case "zstd":
            return layer(raw=zstandard.ZstdDecompressor().decompress(content.blob))
        case "gzip":
            return content
        case _:
            return layer(raw=content.blob)


@pytest.mark.parametrize("name", IMAGES)
async def test_volume_equals_what_umoci_unpacks(
    name: str, worker: LayerWorker, tmp_path: Path
) -> None:
    layers = IMAGES[name]
    layout = write_layout(tmp_path / "layout", {"test": image(map(gzipped, layers))})
    expected = umoci_tree(layout, "test", tmp_path)

    await build_volume(worker, tmp_path / "volume", layers)
    await build_at_once(worker, tmp_path / "at-once", layers)

    assert differences(tree_of(tmp_path / "volume"), expected) == []
    assert differences(tree_of(tmp_path / "at-once"), expected) == []


async def test_same_layers_give_the_same_bytes(worker: LayerWorker, tmp_path: Path) -> None:
    layers = [_EVERY_KIND, *IMAGES["a directory of thousands"], *IMAGES["whiteouts"]]

    for build in (build_volume, build_at_once):
        for name in ("one", "two"):
            await build(worker, tmp_path / name, layers)
        assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
