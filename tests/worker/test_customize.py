# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes customized by the real worker, looked into through the kernel."""

import dataclasses
import json
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.customizing import customize, customized, read_files
from tests.support.images import Entry, directory, file, hardlink, layer, symlink
from tests.support.privileges import call_as_root
from tests.support.trees import Node, differences, mounted
from tests.support.volumes import apply_layer, assert_sound, build_volume, tree_of
from virtlayer.errors import InvalidArgument, NoSpace
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.sizes import MIB

_HASH = "$6$salt$hash"
_PASSWD = b"rootless:x:7:7::/:/bin/sh\nroot:*:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/no\n"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"


async def test_password_is_set_only_for_root(worker: LayerWorker, tmp_path: Path) -> None:
    shadow = b"rootless:!:1::::::\nroot:*:1:0:99999:7:::\n"
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            file("etc/passwd", _PASSWD),
            file("etc/shadow", shadow, mode=0o644, gid=42, xattrs={"user.label": b"kept"}),
        ],
        Customization(root_password_hash=_HASH),
    )
    [passwd, (text, mode, uid, gid)] = read_files(volume, "etc/passwd", "etc/shadow")
    assert passwd[0] == _PASSWD.replace(b"root:*:", b"root:x:")
    [rootless, root, rest] = text.split(b"\n")
    assert (rootless, rest) == (b"rootless:!:1::::::", b"")
    assert root.startswith(f"root:{_HASH}:".encode())
    assert root.endswith(b":0:99999:7:::")
    # Whatever the image allowed, others may not read the hash.
    assert (mode, uid, gid) == (0o640, 0, 42)
    assert tree_of(volume)[b"etc/shadow"].attributes == ((b"user.label", b"kept"),)


@pytest.mark.parametrize(
    ("groups", "mode", "gid"), [([], 0o600, 0), ([b"root:x:0:\nshadow:x:15:\n"], 0o640, 15)]
)
async def test_a_shadow_that_is_missing_is_made(
    worker: LayerWorker, tmp_path: Path, groups: list[bytes], mode: int, gid: int
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [file("etc/passwd", _PASSWD), *(file("etc/group", text) for text in groups)],
        Customization(root_password_hash=_HASH),
    )
    [(text, *facts)] = read_files(volume, "etc/shadow")
    assert text.startswith(f"root:{_HASH}:".encode())
    assert facts == [mode, 0, gid]


@pytest.mark.parametrize("target", ["/data/secret/shadow", "../../../../data/secret/shadow"])
@pytest.mark.parametrize("dangling", [True, False])
async def test_symlinks_of_shadow_stay_inside_the_image(
    worker: LayerWorker, tmp_path: Path, target: str, dangling: bool
) -> None:
    before = call_as_root(Path.read_bytes, Path("/etc/shadow"))
    entries = [file("etc/passwd", _PASSWD), symlink("etc/shadow", target)]
    if not dangling:
        entries.append(file("data/secret/shadow", b"root:*:::::::\n", mode=0o600, uid=3))
    volume = await customized(
        worker, tmp_path / "volume", entries, Customization(root_password_hash=_HASH)
    )
    tree = tree_of(volume)
    assert (tree[b"etc/shadow"].kind, tree[b"etc/shadow"].content) == ("l", target)
    [(text, *facts)] = read_files(volume, "data/secret/shadow")
    assert text.startswith(f"root:{_HASH}:".encode())
    assert facts == [0o600, 0 if dangling else 3, 0]
    assert call_as_root(Path.read_bytes, Path("/etc/shadow")) == before


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([directory("etc")], "has no /etc/passwd"),
        ([file("etc/passwd", b"rootless:x:0:0::/:/s\n")], 'no user "root"'),
        ([directory("etc/passwd")], "not a regular file"),
        ([file("etc/passwd", _PASSWD), directory("etc/shadow")], "not a regular file"),
        ([file("etc/passwd", _PASSWD), symlink("etc/shadow", "shadow")], "loop of symlinks"),
        ([file("etc", b"")], "not a directory"),
        ([file("etc/passwd", bytes(5 * MIB))], "larger than 4 MiB"),
    ],
)
async def test_images_without_a_usable_root_get_different_errors(
    worker: LayerWorker, tmp_path: Path, entries: list[Entry], problem: str
) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        await customized(
            worker, tmp_path / "volume", entries, Customization(root_password_hash=_HASH)
        )
    assert caught.value.message.startswith('The image "demo:1" has ')
    assert _HASH not in caught.value.message
    assert_sound(tmp_path / "volume")


async def test_keys_and_hostname_are_put_where_they_are_looked_for(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [file("etc/passwd", _PASSWD.replace(b"/root:", b"/home/boss/:"))],
        Customization(ssh_authorized_keys=(_KEY,), hostname="web.example"),
    )
    home, directory_, keys, hostname = read_files(
        volume, "home/boss", "home/boss/.ssh", "home/boss/.ssh/authorized_keys", "etc/hostname"
    )
    assert home[1:] == (0o755, 0, 0)
    assert directory_[1:] == (0o700, 0, 0)
    assert keys == (f"{_KEY}\n".encode(), 0o600, 0, 0)
    assert hostname == (b"web.example\n", 0o644, 0, 0)


async def test_keys_are_added_to_those_that_the_image_has(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            file("etc/passwd", _PASSWD),
            directory("root/.ssh", mode=0o777, uid=9),
            file("root/.ssh/authorized_keys", b"other\n", mode=0o666, uid=9),
        ],
        Customization(ssh_authorized_keys=(_KEY,)),
    )
    directory_, keys = read_files(volume, "root/.ssh", "root/.ssh/authorized_keys")
    assert directory_[1:] == (0o700, 0, 0)
    assert keys == (f"other\n{_KEY}\n".encode(), 0o600, 0, 0)


def _acl(uid: int, gid: int) -> bytes:
    none = 2**32 - 1
    entries = [(1, 6, none), (2, 4, uid), (4, 4, none), (8, 4, gid), (16, 4, none), (32, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


def _capability(root: int) -> bytes:
    return struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, root)


_OWNED = [
    directory("etc", uid=0, gid=0),
    file("etc/passwd", _PASSWD),
    file("su", b"setuid", mode=0o6755, uid=0, gid=5),
    hardlink("su-too", "su"),
    hardlink("etc/su-three", "su"),
    file("user", b"u", uid=1000, gid=1000),
    file("other", b"o", uid=70_000, gid=4_294_967_294),
    symlink("link", "su", uid=1000),
    symlink("long", "x" * 200, gid=1000),
    file("acl", b"", uid=1, xattrs={"system.posix_acl_access": _acl(1000, 5)}),
    directory("box", xattrs={"system.posix_acl_default": _acl(3, 1000), "user.a": b"v" * 2000}),
    file("ping", b"p", mode=0o755, xattrs={"security.capability": _capability(1000)}),
    file("ping2", b"p", xattrs={"security.capability": struct.pack("<IIIII", 1 << 25, 1, 0, 0, 0)}),
]
_UIDS = (IdRange(0, 1000, 1), IdRange(1000, 2000, 1), IdRange(1, 300_000, 999))
_GIDS = (IdRange(0, 100_000, 65_536),)


def _with_ids(
    tree: dict[bytes, Node], uid: Callable[[int], int], gid: Callable[[int], int]
) -> dict[bytes, Node]:
    """The oracle: what the tree should be, by plain arithmetic."""

    def attribute(name: bytes, value: bytes) -> bytes:
        if name.startswith(b"system.posix_acl"):
            entries = list(struct.iter_unpack("<HHI", value[4:]))
            maps = {2: uid, 8: gid}
            return value[:4] + b"".join(
                struct.pack("<HHI", tag, bits, maps[tag](number) if tag in maps else number)
                for tag, bits, number in entries
            )
        if name == b"security.capability" and len(value) == 24:
            return value[:20] + struct.pack("<I", uid(int.from_bytes(value[20:], "little")))
        return value

    return {
        path: dataclasses.replace(
            node,
            uid=uid(node.uid),
            gid=gid(node.gid),
            attributes=tuple((name, attribute(name, value)) for name, value in node.attributes),
        )
        for path, node in tree.items()
    }


def _uid(number: int) -> int:
    return {0: 1000, 1000: 2000}.get(number, number + 299_999 if number < 1000 else number)


def _gid(number: int) -> int:
    return number + 100_000 if number < 65_536 else number


async def test_ids_are_mapped_once_an_inode_wherever_they_stand(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    await build_volume(worker, volume, [layer(*_OWNED)], size=64 * MIB)
    before = tree_of(volume)
    await customize(volume, Customization(uid_map=_UIDS, gid_map=_GIDS))
    after = tree_of(volume)
    assert not differences(after, _with_ids(before, _uid, _gid))
    assert after[b"su"].mode == 0o6755
    assert (after[b"su-too"].uid, after[b"su-too"].gid) == (1000, 100_005)


async def test_customized_files_have_mapped_owners(worker: LayerWorker, tmp_path: Path) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        _OWNED,
        Customization(
            root_password_hash=_HASH,
            ssh_authorized_keys=(_KEY,),
            hostname="web",
            uid_map=_UIDS,
            gid_map=_GIDS,
        ),
    )
    paths = ("etc/shadow", "root/.ssh/authorized_keys", "etc/hostname", "root/.ssh")
    assert {facts[2:] for facts in read_files(volume, *paths)} == {(1000, 100_000)}


_MANY = 45_000


async def test_a_large_image_is_mapped(worker: LayerWorker, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    entries = [
        entry
        for number in range(_MANY // 500)
        for entry in (
            directory(f"d{number}", uid=number),
            *(file(f"d{number}/f{n}", uid=n, gid=number) for n in range(499)),
        )
    ]
    await build_volume(worker, volume, [layer(*entries)], size=1024 * MIB)
    before = tree_of(volume)
    assert len(before) > _MANY
    await customize(volume, Customization(uid_map=_UIDS, gid_map=_GIDS))
    assert not differences(tree_of(volume), _with_ids(before, _uid, _gid))


@pytest.mark.parametrize(
    ("size", "grown"),
    [(64, 65), (64, 128), (65, 200), (127, 128), (130, 300), (1024, 20_000), (16_384, 1_048_576)],
)
async def test_grown_file_system_keeps_its_content(
    worker: LayerWorker, tmp_path: Path, size: int, grown: int
) -> None:
    """Sizes in MiB: within a group, by groups, from a group cut short, by blocks of descriptors."""
    volume = tmp_path / "volume"
    data = os.urandom(MIB)
    layers = [
        layer(directory("d"), *(file(f"d/{n}", data) for n in range(20))),
        layer(*(file(f"d/.wh.{n}") for n in range(0, 20, 2)), file("new", b"n")),
    ]
    await build_volume(worker, volume, layers, size=size * MIB)
    before = tree_of(volume)
    os.truncate(volume, grown * MIB)
    await customize(volume, Customization(filesystem_size=grown * MIB))
    assert not differences(tree_of(volume), before)
    assert _size_in_kernel(volume) > 0.9 * (grown - 12) * MIB
    await _fill(worker, volume)
    assert tree_of(volume)[b"filled/39"].size == MIB


async def _fill(worker: LayerWorker, volume: Path) -> None:
    """The grown file system can be written to, by us, and is sound afterwards."""
    data = os.urandom(MIB)
    content = layer(*(file(f"filled/{n}", data) for n in range(40)))
    await apply_layer(worker, volume, content, format_size=None)
    assert_sound(volume)


def _size_in_kernel(volume: Path) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="mnt") as point,
        mounted(volume, Path(point)) as root,
    ):
        state = os.statvfs(root)
        return state.f_blocks * state.f_frsize


async def test_growing_beyond_the_limit_reports_the_limit(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    await build_volume(worker, volume, [layer(file("a"))], size=64 * MIB)
    os.truncate(volume, 65 * 1024 * MIB)
    with pytest.raises(InvalidArgument, match="grow to 64 GiB"):
        await customize(volume, Customization(filesystem_size=65 * 1024 * MIB))


async def test_a_full_file_system_refuses_more(worker: LayerWorker, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    entries = [file("etc/passwd", _PASSWD), *(file(f"f{n}") for n in range(4200))]
    with pytest.raises(NoSpace):
        await build_volume(worker, volume, [layer(*entries)], size=64 * MIB)
    await build_volume(worker, volume, [layer(*entries[:4081])], size=64 * MIB)
    with pytest.raises(NoSpace, match="too little free space"):
        await customize(
            volume,
            Customization(root_password_hash=_HASH, ssh_authorized_keys=(_KEY,), hostname="a"),
        )


async def test_the_largest_customization_fits_into_a_message(
    worker: LayerWorker, tmp_path: Path
) -> None:
    ranges = tuple(IdRange(4_000_000_000 + n, 4_100_000_000 + n, 1) for n in range(340))
    keys = tuple(f"{_KEY}{'x' * 900}{n:03}" for n in range(65))
    customization = Customization(ssh_authorized_keys=keys, uid_map=ranges, gid_map=ranges)
    assert len(json.dumps(customization.message())) > 64 * 1024
    await customized(worker, tmp_path / "volume", [file("etc/passwd", _PASSWD)], customization)
    [(text, *_)] = read_files(tmp_path / "volume", "root/.ssh/authorized_keys")
    assert text.count(b"\n") == 65
