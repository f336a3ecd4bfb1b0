# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machine IDs and ssh host keys of images, replaced by the real worker and read by OpenSSH."""

import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from tests.support.customizing import customize, customized, read_files
from tests.support.directories import build_directory
from tests.support.directories import customize as customize_directory
from tests.support.directory_user import NOBODY, build_as_user, users_directory
from tests.support.images import Entry, directory, fifo, file, hardlink, layer, symlink, whiteout
from tests.support.trees import scan
from tests.support.volumes import apply_layer, build_volume, tree_of
from virtlayer.errors import InvalidArgument
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.sizes import MIB

_ID = b"0123456789abcdef0123456789abcdef\n"
_FRESH = Customization(fresh_identity=True)
_KEYS = "etc/ssh/ssh_host_{}_key"
_OLD_KEYS = [
    entry
    for kind in ("rsa", "dsa", "ed25519")
    for entry in (
        file(_KEYS.format(kind), b"old private", mode=0o640, gid=101),
        file(f"{_KEYS.format(kind)}.pub", b"old public", mode=0o600),
    )
]
_NEW_NAMES = [
    "ssh_host_ecdsa_key",
    "ssh_host_ecdsa_key.pub",
    "ssh_host_ed25519_key",
    "ssh_host_ed25519_key.pub",
]


def names_in(volume: Path, parent: str) -> list[str]:
    """The names in a directory of a volume, sorted."""
    prefix = f"{parent}/".encode()
    return [
        path.removeprefix(prefix).decode()
        for path in sorted(tree_of(volume))
        if path.startswith(prefix)
    ]


def public_key(private: bytes, directory: Path) -> str:
    """The public key that OpenSSH finds in the file of a private key."""
    path = directory / "key"
    path.write_bytes(private)
    path.chmod(0o600)
    command = ["ssh-keygen", "-y", "-P", "", "-f", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def new_keys(volume: Path, directory: Path, owner: int = 0) -> set[str]:
    """The host keys of a volume, each checked by OpenSSH."""
    return _checked_keys(lambda *paths: read_files(volume, *paths), directory, owner)


def _keys_in_directory(root: Path, directory: Path, owner: int) -> set[str]:
    """The same of a directory of the host."""

    def read(*paths: str) -> list[tuple[bytes, int, int, int]]:
        nodes = scan(root)
        found = ((path, nodes[path.encode()]) for path in paths)
        return [((root / path).read_bytes(), node.mode, node.uid, node.gid) for path, node in found]

    return _checked_keys(read, directory, owner)


def _checked_keys(
    read: Callable[..., list[tuple[bytes, int, int, int]]], directory: Path, owner: int
) -> set[str]:
    found = set()
    for kind, name in (("ed25519", "ssh-ed25519"), ("ecdsa", "ecdsa-sha2-nistp256")):
        path = _KEYS.format(kind)
        private, public = read(path, f"{path}.pub")
        assert private[1:] == (0o600, owner, owner)
        assert public[1:] == (0o644, owner, owner)
        text = public[0].decode()
        assert text.endswith("\n")
        assert text.split()[0] == name
        assert public_key(private[0], directory) == text.strip()
        found.add(text)
    return found


def _attributes(volume: Path, path: str) -> list[str]:
    """The extended attributes of a file, also those that the kernel does not list."""
    command = ["debugfs", "-R", f"ea_list {path}", str(volume)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.strip() for line in done.stdout.splitlines() if "=" in line]


async def test_machine_id_is_emptied_and_keeps_its_metadata(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            file("etc/machine-id", _ID, mode=0o444, gid=3, xattrs={"user.label": b"kept"}),
            file("var/lib/dbus/machine-id", _ID),
            file("etc/hostname", b"kept\n"),
        ],
        _FRESH,
    )
    [machine_id, hostname] = read_files(volume, "etc/machine-id", "etc/hostname")
    assert machine_id == (b"", 0o444, 0, 3)
    assert hostname[0] == b"kept\n"
    assert tree_of(volume)[b"etc/machine-id"].attributes == ((b"user.label", b"kept"),)
    assert names_in(volume, "var/lib/dbus") == []


async def test_machine_ids_that_are_symlinks_stay_inside_the_image(
    worker: LayerWorker, tmp_path: Path
) -> None:
    host = Path("/etc/machine-id").read_bytes()
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            symlink("etc/machine-id", "../../../data/id"),
            file("data/id", _ID),
            symlink("var/lib/dbus/machine-id", "/etc/machine-id"),
        ],
        _FRESH,
    )
    tree = tree_of(volume)
    assert tree[b"etc/machine-id"].content == "../../../data/id"
    assert tree[b"var/lib/dbus/machine-id"].content == "/etc/machine-id"
    assert read_files(volume, "data/id")[0][0] == b""
    assert Path("/etc/machine-id").read_bytes() == host


async def test_machine_id_behind_a_symlink_to_that_of_dbus_is_emptied(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            symlink("etc/machine-id", "/var/lib/dbus/machine-id"),
            file("var/lib/dbus/machine-id", _ID),
        ],
        _FRESH,
    )
    assert read_files(volume, "var/lib/dbus/machine-id")[0][0] == b""


async def test_hard_links_of_a_machine_id_are_both_replaced(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            directory("var/lib/dbus"),
            file("etc/machine-id", _ID),
            hardlink("var/lib/dbus/machine-id", "etc/machine-id"),
        ],
        _FRESH,
    )
    assert read_files(volume, "etc/machine-id")[0][0] == b""
    assert names_in(volume, "var/lib/dbus") == []


async def test_host_keys_are_replaced_by_keys_that_openssh_reads(
    worker: LayerWorker, tmp_path: Path
) -> None:
    found = []
    for number in range(2):
        volume = await customized(
            worker,
            tmp_path / f"volume-{number}",
            [*_OLD_KEYS, file("etc/ssh/sshd_config", b"kept"), file("etc/ssh/moduli", b"kept")],
            _FRESH,
        )
        assert names_in(volume, "etc/ssh") == ["moduli", *_NEW_NAMES, "sshd_config"]
        found.append(new_keys(volume, tmp_path))
    assert not found[0] & found[1]


async def test_new_host_keys_have_the_label_of_the_old_ones_and_no_other_attribute(
    worker: LayerWorker, tmp_path: Path
) -> None:
    label = {"security.selinux": b"system_u:object_r:sshd_key_t:s0"}
    old = file(_KEYS.format("rsa"), b"old", xattrs={**label, "user.other": b"1"})
    volume = await customized(worker, tmp_path / "volume", [old], _FRESH)
    for name in _NEW_NAMES:
        assert _attributes(volume, f"/etc/ssh/{name}") == [
            'security.selinux (31) = "system_u:object_r:sshd_key_t:s0"'
        ]


async def test_new_host_keys_have_mapped_owners(worker: LayerWorker, tmp_path: Path) -> None:
    ids = (IdRange(0, 100_000, 1000),)
    customization = Customization(fresh_identity=True, uid_map=ids, gid_map=ids)
    volume = await customized(worker, tmp_path / "volume", _OLD_KEYS, customization)
    new_keys(volume, tmp_path, owner=100_000)


async def test_host_keys_that_are_symlinks_are_replaced_by_files(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = await customized(
        worker,
        tmp_path / "volume",
        [
            directory("etc"),
            symlink("etc/ssh", "../../../data/ssh"),
            symlink("data/ssh/ssh_host_ed25519_key", "/keys/one"),
            symlink("data/ssh/ssh_host_ed25519_key.pub", "/etc/passwd"),
            file("keys/one", b"old"),
            file("etc/passwd", b"kept"),
        ],
        _FRESH,
    )
    tree = tree_of(volume)
    assert names_in(volume, "data/ssh") == _NEW_NAMES
    assert {tree[f"data/ssh/{name}".encode()].kind for name in _NEW_NAMES} == {"-"}
    [one, passwd] = read_files(volume, "keys/one", "etc/passwd")
    assert (one[0], passwd[0]) == (b"old", b"kept")


_WITHOUT_IDENTITY: Sequence[Iterable[Entry]] = (
    [file("bin/sh", b"")],
    [file("etc/machine-id", b""), symlink("var/lib/dbus/machine-id", "/etc/machine-id")],
    [file("etc/machine-id", b"uninitialized\n")],
    [directory("etc/machine-id"), fifo("var/lib/dbus/machine-id"), file("etc/ssh", b"")],
    [symlink("etc/machine-id", "machine-id"), symlink("etc/ssh", "/gone")],
    [file("etc/ssh/ssh_host_rsa_key.pub", b"of no private key")],
    [directory("etc/ssh/ssh_host_rsa_key"), file("etc/ssh/ssh_host_rsa_key/kept", b"")],
    [symlink("etc/ssh/ssh_host_rsa_key", "/mounted/later"), file("etc/ssh/my_host_key", b"")],
    [file("etc", b"")],
)


@pytest.mark.parametrize("entries", _WITHOUT_IDENTITY)
async def test_image_without_identity_is_not_changed(
    worker: LayerWorker, tmp_path: Path, entries: Iterable[Entry]
) -> None:
    volume = tmp_path / "volume"
    await build_volume(worker, volume, [layer(*entries)], size=64 * MIB)
    before = tree_of(volume)
    assert not await customize(volume, _FRESH)
    assert tree_of(volume) == before


async def test_identity_is_kept_unless_it_is_to_be_fresh(
    worker: LayerWorker, tmp_path: Path
) -> None:
    entries = [file("etc/machine-id", _ID), *_OLD_KEYS]
    volume = tmp_path / "volume"
    await build_volume(worker, volume, [layer(*entries)], size=64 * MIB)
    before = tree_of(volume)
    assert not await customize(volume, Customization(hostname="web"))
    after = tree_of(volume)
    assert {path: node for path, node in after.items() if path != b"etc/hostname"} == {
        path: node for path, node in before.items() if path != b"etc/hostname"
    } | {b"etc": after[b"etc"]}


async def test_a_directory_in_the_place_of_a_new_key_is_reported(
    worker: LayerWorker, tmp_path: Path
) -> None:
    entries = [*_OLD_KEYS[:2], directory("etc/ssh/ssh_host_ed25519_key")]
    with pytest.raises(InvalidArgument, match=r"ssh_host_ed25519_key.*keep-identity"):
        await customized(worker, tmp_path / "volume", entries, _FRESH)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        *((entries, False) for entries in _WITHOUT_IDENTITY),
        ([file("etc/machine-id", _ID)], True),
        ([file("etc/machine-id", bytes(5 * MIB))], True),
        ([directory("etc"), file("var/lib/dbus/machine-id", _ID)], True),
        (_OLD_KEYS, True),
    ],
)
async def test_layer_worker_reports_whether_there_is_an_identity(
    worker: LayerWorker, tmp_path: Path, entries: Iterable[Entry], *, expected: bool
) -> None:
    volume = tmp_path / "volume"
    volume.write_bytes(bytes(64 * MIB))
    applied = await apply_layer(worker, volume, layer(*entries), format_size=64 * MIB)
    assert applied.has_identity is expected


async def test_the_whole_chain_decides_whether_there_is_an_identity(
    worker: LayerWorker, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.write_bytes(bytes(64 * MIB))
    found = []
    for number, content in enumerate(
        [
            layer(file("etc/machine-id", _ID)),
            layer(file("unrelated", b"")),
            layer(whiteout("etc/machine-id")),
        ]
    ):
        size = None if number else 64 * MIB
        applied = await apply_layer(worker, volume, content, format_size=size)
        found.append(applied.has_identity)
    assert found == [True, True, False]


_IDENTITY = [file("etc/machine-id", _ID, mode=0o444), *_OLD_KEYS]


@pytest.mark.root
async def test_identity_in_a_directory_is_replaced(tmp_path: Path) -> None:
    root = tmp_path / "root"
    await build_directory(root, [layer(*_IDENTITY, symlink("etc/ssh/link", "/etc/machine-id"))])
    await customize_directory(root, _FRESH)
    assert (root / "etc/machine-id").read_bytes() == b""
    assert sorted(path.name for path in (root / "etc/ssh").iterdir()) == ["link", *_NEW_NAMES]
    _keys_in_directory(root, tmp_path, 0)


@pytest.mark.root
async def test_very_many_names_like_those_of_keys_are_removed(tmp_path: Path) -> None:
    many = [file(_KEYS.format(number), b"old") for number in range(2000)]
    root = tmp_path / "root"
    await build_directory(root, [layer(*_IDENTITY, *many)])
    await customize_directory(root, _FRESH)
    assert (root / "etc/machine-id").read_bytes() == b""
    assert sorted(path.name for path in (root / "etc/ssh").iterdir()) == _NEW_NAMES


async def test_very_many_symlinks_like_keys_are_not_all_followed(
    worker: LayerWorker, tmp_path: Path
) -> None:
    links = [symlink(_KEYS.format(number), "loop") for number in range(3000)]
    volume = tmp_path / "volume"
    volume.write_bytes(bytes(64 * MIB))
    content = layer(
        symlink("etc/ssh/loop", "loop"),
        *links,
        symlink(_KEYS.format("z"), "file"),
        file("etc/ssh/file"),
    )
    applied = await apply_layer(worker, volume, content, format_size=64 * MIB)
    assert applied.has_identity is False


@pytest.mark.root
def test_identity_in_a_users_directory_is_replaced_even_if_its_files_cannot_be_read(
    tmp_path: Path,
) -> None:
    with users_directory() as place:
        root = place / "root"
        secret = [file("var/lib/dbus/machine-id", _ID, mode=0), directory("var/lib", mode=0o500)]
        build_as_user(root, [layer(*_IDENTITY, *secret)], _FRESH)
        assert (root / "etc/machine-id").read_bytes() == b""
        assert list((root / "var/lib/dbus").iterdir()) == []
        _keys_in_directory(root, tmp_path, NOBODY.pw_uid)
