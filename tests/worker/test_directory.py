# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers onto a directory of the host, compared with what umoci unpacks."""

import contextlib
import dataclasses
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import archives
from tests.support.directories import build_directory, customize, open_directory
from tests.support.directory_user import NOBODY, as_nobody, build_as_user, users_directory
from tests.support.images import (
    Entry,
    LayerContent,
    device,
    directory,
    file,
    hardlink,
    image,
    layer,
    opaque,
    symlink,
    whiteout,
    write_layout,
)
from tests.support.small_filesystem import small_filesystem
from tests.support.trees import Node, differences, scan, umoci_tree
from tests.worker.test_oracle import ACL, IMAGES, gzipped
from virtlayer.errors import DigestMismatch, InvalidArgument, LayerTooLarge, MalformedLayer, NoSpace
from virtlayer.keeper.kinds.directory.removal import remove_tree
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.id_ranges import IdMap, IdRange, Owners
from virtlayer.service.workers.directory import FinishedDirectory
from virtlayer.settings import LayerSettings
from virtlayer.sizes import MIB

# A complete directory is root's work, and a user's is looked through where he may not enter.
pytestmark = pytest.mark.root
_COMPLETE = FinishedDirectory(squashed=False, skipped_devices=0, skipped_attributes=0)
_PASSWD = b"root:*:0:0:root:/root:/bin/sh\n"
# VFS_CAP_REVISION_3 with cap_net_raw, for the root user 1 (capabilities(7)).
_CAPABILITY_3 = struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, 1)
_SPARSE_MAP = {
    "GNU.sparse.size": str(1 << 30),
    "GNU.sparse.map": f"{1 << 29},4",
    "GNU.sparse.numblocks": "1",
}
SPARSE = archives.archive(archives.pax(_SPARSE_MAP), archives.entry("sparse", b"data"))
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"


@pytest.mark.parametrize("name", IMAGES)
async def test_directory_equals_what_umoci_unpacks(name: str, tmp_path: Path) -> None:
    layers = IMAGES[name]
    layout = write_layout(tmp_path / "layout", {"test": image(map(gzipped, layers))})
    expected = umoci_tree(layout, "test", tmp_path)

    finished = await build_directory(tmp_path / "root", layers)

    assert differences(scan(tmp_path / "root"), expected) == []
    assert finished == _COMPLETE


# ---- what a user's directory lacks ----


def _squashed(node: Node) -> Node:
    """A node as an unprivileged user creates it."""
    mode = node.mode & ~(stat.S_ISUID | stat.S_ISGID) if node.kind != "d" else node.mode
    attributes = tuple(one for one in node.attributes if one[0].startswith(b"user."))
    return dataclasses.replace(
        node, uid=NOBODY.pw_uid, gid=NOBODY.pw_gid, mode=mode, attributes=attributes
    )


@pytest.mark.parametrize("name", IMAGES)
def test_users_directory_differs_only_in_privileged_metadata(name: str, tmp_path: Path) -> None:
    layers = IMAGES[name]
    layout = write_layout(tmp_path / "layout", {"test": image(map(gzipped, layers))})
    expected = {
        path: _squashed(node)
        for path, node in umoci_tree(layout, "test", tmp_path).items()
        if node.kind not in "bc"
    }

    with users_directory() as place:
        finished = build_as_user(place / "root", layers)
        found = scan(place / "root")

    assert differences(found, expected) == []
    every_kind = name == "every kind"
    assert finished == FinishedDirectory(
        squashed=True,
        skipped_devices=3 if every_kind else 0,
        skipped_attributes=2 if every_kind else 0,
    )


def test_users_directory_can_have_directories_that_he_may_not_enter() -> None:
    layers = [
        layer(
            directory("./", mode=0o555),
            directory("closed", mode=0),
            file("closed/file", b"1", mode=0o400),
            directory("root", mode=0o550),
            directory("etc", mode=0o555),
            file("etc/passwd", _PASSWD),
        ),
        layer(file("closed/more", b"2"), directory("closed/below", mode=0o111)),
    ]
    changes = Customization(hostname="mine", ssh_authorized_keys=(_KEY,))
    with users_directory() as place:
        build_as_user(place / "root", layers, changes)
        found = scan(place / "root")
    modes = {path: node.mode for path, node in found.items()}
    assert modes[b""] == modes[b"etc"] == 0o555
    assert (modes[b"closed"], modes[b"closed/below"], modes[b"root"]) == (0, 0o111, 0o550)
    assert {b"closed/file", b"closed/more", b"etc/hostname"} <= found.keys()
    assert modes[b"root/.ssh/authorized_keys"] == 0o600
    assert found[b"closed"].mtime == found[b"closed/file"].mtime


def test_user_can_remove_inaccessible_directories() -> None:
    closed = [directory("a", mode=0), file("a/f"), directory("a/b", mode=0o555), file("a/b/f")]
    with users_directory() as place:
        build_as_user(place / "root", [layer(directory(".", mode=0o500), *closed)])
        script = (
            "import os, sys; from virtlayer.keeper.kinds.directory.removal import remove_tree;"
            "remove_tree(os.open(sys.argv[1], os.O_RDONLY), sys.argv[2])"
        )
        command = as_nobody(sys.executable, "-I", "-c", script, place, "root")
        subprocess.run(command, check=True)
        assert not [*place.iterdir()]


def test_devices_that_a_user_cannot_make_can_be_linked_and_hidden() -> None:
    layers = [
        layer(device("null", "c", 1, 3), hardlink("also", "null"), device("gone", "b", 8, 0)),
        layer(hardlink("third", "also"), whiteout("null"), whiteout("gone"), file("also", b"")),
    ]
    with users_directory() as place:
        finished = build_as_user(place / "root", layers)
        assert scan(place / "root").keys() == {b"", b"also"}
    assert finished.skipped_devices == 2


# ---- what a hostile layer cannot do ----

_HOSTILE: Mapping[str, Callable[[str], list[LayerContent]]] = {
    "absolute symlink": lambda host: [
        layer(symlink("out", host), file("out/evil", b"1"), file("out/victim", b"2"))
    ],
    "relative symlink": lambda host: [
        layer(symlink("out", f"../../../../../..{host}"), file("out/evil", b"1"))
    ],
    "dots": lambda host: [layer(file(f"../../../../../..{host}/evil", b"1"))],
    "dots in the middle": lambda host: [
        layer(directory("a"), file(f"a/../../../..{host}/evil", b"1"))
    ],
    "a directory becomes a symlink": lambda host: [
        layer(directory("a"), file("a/f", b"1"), symlink("a", host), file("a/victim", b"2"))
    ],
    "a symlink of a lower layer": lambda host: [
        layer(symlink("a", host)),
        layer(file("a/victim", b"2"), directory("a/new")),
    ],
    "a symlink in the place of a file": lambda host: [
        layer(symlink("a", f"{host}/victim")),
        layer(file("a", b"2")),
    ],
    "a whiteout behind a symlink": lambda host: [
        layer(symlink("a", host)),
        layer(whiteout("a/victim"), opaque("a")),
    ],
    "a whiteout of a symlink": lambda host: [layer(symlink("a", host)), layer(whiteout("a"))],
    "owner and time of a symlink": lambda host: [
        layer(symlink("a", f"{host}/victim", uid=1, gid=7, mtime=5))
    ],
    "permissions behind a symlink": lambda host: [
        layer(symlink("a", host)),
        layer(directory("a/.", mode=0o777, uid=9)),
    ],
    "a symlink round and round": lambda _: [
        layer(symlink("a", "b"), symlink("b", "a"), file("a", b"1"))
    ],
}
_HOSTILE_AND_SENSELESS: Mapping[str, Callable[[str], list[LayerContent]]] = {
    "a hard link out": lambda host: [layer(hardlink("a", f"{host}/victim"))],
    "a hard link out by dots": lambda host: [layer(hardlink("a", f"../../..{host}/victim"))],
    "a hard link behind a symlink": lambda host: [
        layer(symlink("s", host), hardlink("a", "s/victim"))
    ],
    "a path loop of symlinks": lambda _: [
        layer(symlink("a", "b"), symlink("b", "a"), file("a/x", b"1"))
    ],
}


@contextlib.contextmanager
def _victim() -> Iterator[str]:
    """A directory of the host with a file, which must not change."""
    with users_directory() as place:
        (place / "victim").write_bytes(b"of the host")
        before, inode = scan(place), (place / "victim").stat()
        yield str(place)
        assert differences(before, scan(place)) == []
        assert (place / "victim").stat().st_nlink == inode.st_nlink == 1


@pytest.mark.parametrize("name", _HOSTILE)
async def test_hostile_layers_stay_inside(name: str, tmp_path: Path) -> None:
    with _victim() as host:
        await build_directory(tmp_path / "root", _HOSTILE[name](host))
    with _victim() as host, users_directory() as place:
        build_as_user(place / "root", _HOSTILE[name](host))


@pytest.mark.parametrize("name", _HOSTILE_AND_SENSELESS)
async def test_links_to_targets_outside_the_image_are_refused(name: str, tmp_path: Path) -> None:
    with _victim() as host, pytest.raises(MalformedLayer):
        await build_directory(tmp_path / "root", _HOSTILE_AND_SENSELESS[name](host))
    with _victim() as host, users_directory() as place, pytest.raises(MalformedLayer):
        build_as_user(place / "root", _HOSTILE_AND_SENSELESS[name](host))


@pytest.mark.parametrize("target", ["{}/victim", "../../../../..{}/victim"])
async def test_customizations_follow_symlinks_inside_only(target: str, tmp_path: Path) -> None:
    with _victim() as host:
        layers = [layer(file("etc/passwd", _PASSWD), symlink("etc/hostname", target.format(host)))]
        root = tmp_path / "root"
        await build_directory(root, layers)
        await customize(root, Customization(hostname="inside"))
        assert (root / host.lstrip("/") / "victim").read_text() == "inside\n"


async def test_a_deep_tree_takes_few_descriptors_and_goes_again(tmp_path: Path) -> None:
    # 1,000 deep by a symlink that shortens the way: the path is longer than the kernel takes.
    half = "/".join(["d" * 6] * 500)
    deep = layer(directory(half), symlink("s", half), directory(f"s/{half}"), file(f"s/{half}/f"))
    await build_directory(tmp_path / "root", [deep])
    with open_directory(tmp_path) as descriptor:
        remove_tree(descriptor, "root")
    assert not (tmp_path / "root").exists()

    await build_directory(tmp_path / "root", [deep, layer(whiteout("d" * 6))])
    assert scan(tmp_path / "root").keys() == {b"", b"s"}


# ---- customizations ----


async def test_a_directory_is_customized_like_a_volume(tmp_path: Path) -> None:
    root = tmp_path / "root"
    layers = [
        layer(
            directory("etc", mtime=5),
            file("etc/passwd", _PASSWD),
            file("etc/group", b"shadow:x:42:\n"),
            directory("root", mode=0o700, mtime=6),
        )
    ]
    await build_directory(root, layers)
    await customize(
        root,
        Customization(root_password_hash="$6$hash", ssh_authorized_keys=(_KEY,), hostname="web"),
    )
    found = scan(root)
    shadow = found[b"etc/shadow"]
    assert (root / "etc/shadow").read_text().startswith("root:$6$hash:")
    assert (shadow.mode, shadow.uid, shadow.gid) == (0o640, 0, 42)
    assert (root / "etc/passwd").read_bytes() == _PASSWD.replace(b"*", b"x")
    assert (root / "root/.ssh/authorized_keys").read_text() == f"{_KEY}\n"
    assert found[b"root/.ssh"].mode == 0o700
    assert (root / "etc/hostname").read_text() == "web\n"
    assert (found[b"etc"].mtime, found[b"root"].mtime) == (5 * 10**9, 6 * 10**9)


async def test_ids_are_mapped_once_an_inode_wherever_they_stand(tmp_path: Path) -> None:
    layers = IMAGES["every kind"] + [
        layer(
            directory("box", gid=7, xattrs={"system.posix_acl_default": ACL}),
            file("box/inside", b"", uid=5),
            file("pinned", b"", mode=0o6755, xattrs={"security.capability": _CAPABILITY_3}),
            hardlink("pinned-too", "pinned"),
        )
    ]
    layout = write_layout(tmp_path / "layout", {"test": image(map(gzipped, layers))})
    before = umoci_tree(layout, "test", tmp_path)
    uids, gids = (
        IdMap([IdRange(0, 1000, 2), IdRange(1000, 5, 1)], ""),
        IdMap([IdRange(0, 9, 8)], ""),
    )
    owners = Owners(uids, gids)
    expected = {
        path: dataclasses.replace(
            node,
            uid=uids(node.uid),
            gid=gids(node.gid),
            attributes=tuple((key, owners.attribute(key, value)) for key, value in node.attributes),
        )
        for path, node in before.items()
    }
    await build_directory(tmp_path / "root", layers)
    await customize(tmp_path / "root", Customization(uid_map=uids.ranges, gid_map=gids.ranges))
    assert differences(scan(tmp_path / "root"), expected) == []


async def test_image_without_root_is_reported(tmp_path: Path) -> None:
    await build_directory(tmp_path / "root", [layer(directory("etc"))])
    with pytest.raises(InvalidArgument, match='"demo:1" has no /etc/passwd'):
        await customize(tmp_path / "root", Customization(root_password_hash="$6$x"))


# ---- limits ----


async def test_a_layer_of_another_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch, match="unpacks to sha256"):
        await build_directory(tmp_path / "root", [layer(file("a"), diff_id="sha256:" + "0" * 64)])


async def test_a_layer_with_too_many_entries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerTooLarge, match="more than 1 entries"):
        await build_directory(
            tmp_path / "root", [layer(file("a"), file("b"))], LayerSettings(entries_limit=1)
        )


@pytest.mark.parametrize("what", ["bytes", "inodes"])
async def test_full_pool_is_reported(what: str, tmp_path: Path) -> None:
    many = [file(str(number), bytes(1000)) for number in range(600)]
    large = [file("large", os.urandom(2 * MIB))]
    place = tmp_path / "pool"
    place.mkdir()
    with (
        small_filesystem(place, MIB, inodes=500),
        pytest.raises(NoSpace, match="storage pool is full"),
    ):
        await build_directory(place / "root", [layer(*(large if what == "bytes" else many))])


async def test_holes_stay_holes(tmp_path: Path) -> None:
    await build_directory(tmp_path / "root", [layer(raw=SPARSE)])
    info = (tmp_path / "root/sparse").stat()
    assert info.st_size == 1 << 30
    assert info.st_blocks * 512 < MIB


async def test_attributes_that_only_the_kernels_root_sets_are_counted(tmp_path: Path) -> None:
    attributes = {"security.selinux": b"label", "trusted.x": b"1", "user.kept": b"2"}
    finished = await build_directory(tmp_path / "root", [layer(file("a", b"", xattrs=attributes))])
    assert finished.skipped_attributes == 2
    assert scan(tmp_path / "root")[b"a"].attributes == ((b"user.kept", b"2"),)


_BASE = 1_048_576
_IDS = (IdRange(0, _BASE, 65536),)
_CONTAINER = Customization(uid_map=_IDS, gid_map=_IDS, contained=True)
# VFS_CAP_REVISION_2 with cap_net_raw, as images have it.
_CAPABILITY_2 = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


async def test_directory_for_a_container_has_nothing_that_works_on_the_host(tmp_path: Path) -> None:
    capability = {"security.capability": _CAPABILITY_2}
    layers = [
        layer(
            directory("bin", mode=0o2755, gid=8),
            file("bin/su", b"", mode=0o6755),
            file("bin/ping", b"", mode=0o755, xattrs=capability),
            file("last", b"", uid=65535, gid=65535),
            symlink("link", "bin/su"),
            device("null", "c", 1, 3, mode=0o666),
            hardlink("null-too", "null"),
            device("disk", "b", 8, 0, uid=7),
        )
    ]
    await build_directory(tmp_path / "root", layers)
    removed = await customize(tmp_path / "root", _CONTAINER)

    found = scan(tmp_path / "root")
    assert removed == 3
    assert found.keys() == {b"", b"bin", b"bin/su", b"bin/ping", b"last", b"link"}
    assert {
        (node.uid, node.gid) for path, node in found.items() if path not in (b"last", b"bin")
    } == {(_BASE, _BASE)}
    assert (found[b"bin"].uid, found[b"bin"].gid, found[b"bin"].mode) == (_BASE, _BASE + 8, 0o2755)
    assert (found[b"last"].uid, found[b"last"].gid) == (_BASE + 65535, _BASE + 65535)
    assert found[b"bin/su"].mode == 0o6755
    # Of revision 3, for the namespace whose root is the first of these ids.
    expected = struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, _BASE)
    assert found[b"bin/ping"].attributes == ((b"security.capability", expected),)


@pytest.mark.parametrize(
    ("entry", "whose"),
    [
        (file("a", b"", uid=65536, mode=0o4755), "user 65536"),
        (file("a", b"", gid=70_000), "group 70000"),
        (symlink("a", "b", uid=1_048_576), "user 1048576"),
        (
            file(
                "a",
                b"",
                xattrs={
                    "system.posix_acl_access": struct.pack(
                        "<IHHIHHIHHIHHIHHI",
                        2,
                        1,
                        6,
                        2**32 - 1,
                        2,
                        4,
                        100_000,
                        4,
                        4,
                        2**32 - 1,
                        16,
                        4,
                        2**32 - 1,
                        32,
                        0,
                        2**32 - 1,
                    )
                },
            ),
            "user 100000",
        ),
    ],
)
async def test_id_that_a_container_has_not_is_refused(
    tmp_path: Path, entry: Entry, whose: str
) -> None:
    await build_directory(tmp_path / "root", [layer(entry)])
    with pytest.raises(InvalidArgument, match=f"has a file of {whose}, which is outside the IDs"):
        await customize(tmp_path / "root", _CONTAINER)
