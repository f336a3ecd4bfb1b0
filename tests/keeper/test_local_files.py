# SPDX-License-Identifier: LGPL-2.1-or-later
"""Local files of machines: safe places, whole files only, and what a sweep leaves."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

import pytest

from virtlayer.errors import Internal, NotAuthorized, VirtlayerError
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.local_boot.files import LocalFiles
from virtlayer.keeper.local_boot.notes import LocalNotes
from virtlayer.keeper.local_boot.place import local_directory
from virtlayer.service.keeper.sealed import sealed_content

KERNEL, OTHER, INITRD = (f"kernel-{'1' * 64}", f"kernel-{'2' * 64}", f"initrd-{'1' * 64}")
UUID = "11111111-2222-3333-4444-555555555555"
CONFIG = f"config-{UUID}.raw"
NOTE = DomainNote("a host", "web", is_container=False)
_GAMES = 5


@pytest.fixture
def local(tmp_path: Path) -> LocalFiles:
    """Files in a directory that does not exist yet."""
    return LocalFiles(tmp_path / "virtlayer" / "boot")


async def add(local: LocalFiles, name: str, content: bytes = b"content") -> None:
    """Add a file, shared or of one domain."""
    file = sealed_content(content)
    try:
        if name == CONFIG:
            await local.add_own(name, file)
        else:
            await local.add_shared(name, file, None)
    finally:
        os.close(file)


def names(local: LocalFiles) -> set[str]:
    return {path.name for path in local.path.iterdir()}


async def swept(local: LocalFiles, *needed: str) -> None:
    async def find() -> Collection[str]:
        return needed

    await local.sweep(find)


def test_directory_is_that_of_the_system_or_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/home/somebody/data")
    own = Path("/home/somebody/data/virtlayer/boot")
    assert local_directory("qemu:///session") == own
    is_root = os.geteuid() == 0
    system = Path("/var/lib/virtlayer/boot") if is_root else own
    assert local_directory("qemu:///system") == system
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert local_directory("qemu:///session") == Path("/home/somebody/.local/share/virtlayer/boot")


async def test_files_have_the_modes_that_qemu_needs(local: LocalFiles) -> None:
    await add(local, KERNEL, b"a kernel")
    await add(local, CONFIG, b"a secret")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in local.path.iterdir()}
    assert modes == {KERNEL: 0o440, CONFIG: 0o600}
    assert (local.path / KERNEL).read_bytes() == b"a kernel"
    # Only QEMU's user needs to find them, if that is another one.
    expected = 0o711 if os.geteuid() == 0 else 0o700
    assert stat.S_IMODE(local.path.stat().st_mode) == expected


async def test_existing_file_is_not_replaced(local: LocalFiles) -> None:
    await add(local, KERNEL, b"first")
    await add(local, KERNEL, b"second")
    assert (local.path / KERNEL).read_bytes() == b"first"
    await add(local, CONFIG, b"first")
    with pytest.raises(Internal, match="was not replaced"):
        await add(local, CONFIG, b"second")
    assert (local.path / CONFIG).read_bytes() == b"first"
    assert names(local) == {KERNEL, CONFIG}


async def test_link_in_the_place_of_a_file_is_not_followed(local: LocalFiles) -> None:
    await add(local, OTHER)
    target = local.path.parent / "target"
    (local.path / KERNEL).symlink_to(target)
    assert await local.missing([KERNEL, OTHER]) == {KERNEL}
    await add(local, KERNEL)
    assert not target.exists()


async def test_file_of_a_worker_has_no_name(local: LocalFiles) -> None:
    file = await local.new_file()
    os.write(file, b"written by a worker")
    assert os.fstat(file).st_nlink == 0
    assert names(local) == set()


async def test_full_file_system_leaves_no_file(
    local: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(VirtlayerError, match=r"No space left in .*boot.*Free some space"):
        await add(local, KERNEL)
    assert names(local) == set()


async def test_sweep_removes_what_no_domain_needs(local: LocalFiles) -> None:
    for name in (KERNEL, OTHER, INITRD, CONFIG):
        await add(local, name)
    (local.path / f".new-{'0' * 32}").write_bytes(b"of a killed process")
    (local.path / "notes.txt").write_text("an administrator's")
    await swept(local, KERNEL)
    # A configuration is removed with its domain only.
    assert names(local) == {KERNEL, CONFIG, "notes.txt"}


async def test_sweep_leaves_what_is_needed_next(local: LocalFiles) -> None:
    await add(local, KERNEL)
    async with local.keeping([KERNEL, INITRD]):
        await swept(local)
        async with local.keeping([KERNEL]):
            pass
        await swept(local)
        assert names(local) == {KERNEL}
    await swept(local)
    assert names(local) == set()


async def test_only_writing_makes_the_directory(local: LocalFiles) -> None:
    await swept(local)
    await local.remove([KERNEL])
    assert await local.missing([KERNEL]) == {KERNEL}
    assert await LocalNotes(local.path).all() == {}
    await LocalNotes(local.path).forget(UUID)
    assert not local.path.exists()


@pytest.mark.root
@pytest.mark.parametrize(
    ("uid", "mode"), [(_GAMES, 0o755), (0, 0o777), (0, 0o775)], ids=["owner", "others", "group"]
)
async def test_directory_that_others_can_exchange_is_refused(
    tmp_path: Path, uid: int, mode: int
) -> None:
    parent = tmp_path / "virtlayer"
    parent.mkdir()
    os.chown(parent, uid, _GAMES)
    parent.chmod(mode)
    with pytest.raises(NotAuthorized, match=f"{parent} belongs to UID {uid} and has mode"):
        await add(LocalFiles(parent / "boot"), KERNEL)
    assert list(parent.iterdir()) == []


async def test_notes_are_those_of_a_pool(local: LocalFiles) -> None:
    notes, other = LocalNotes(local.path), UUID.replace("1", "6")
    assert await notes.of_pool("a pool") == {}
    await notes.add("a pool", UUID, NOTE)
    await notes.add("another pool", other, NOTE)
    # A second note about the same domain changes nothing.
    await notes.add("another pool", UUID, NOTE)
    assert await notes.of_pool("a pool") == {UUID: NOTE}
    await notes.forget(UUID)
    await notes.forget(UUID)
    assert await notes.of_pool("a pool") == {}
    assert await notes.all() == {other: ("another pool", NOTE)}
