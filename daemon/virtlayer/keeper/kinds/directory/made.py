# SPDX-License-Identifier: LGPL-2.1-or-later
"""Notes which volumes of a pool virtlayer has made, except layers, which have names of their own.

Only these may be deleted for the service, which could write a record for any volume. So the keeper
itself notes each one that it places: a symlink in ``.virtlayer/made``, called after the volume,
whose text is the number of the volume's inode, when that was made, and the format of a machine's
disk, which machines can be based on. A volume that was copied, or
created again by another program, has another inode, or an inode with another creation time, because
file systems reuse the numbers of deleted files: it is not deleted. With a record, a volume is noted
before it has its name, so that a crash leaves no volume that cannot be deleted.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator

from virtlayer.errors import PoolUnsupported
from virtlayer.keeper.beneath import opened
from virtlayer.keeper.calls import inode_and_birth
from virtlayer.keeper.kinds.directory.own_directory import OwnDirectory, existing_own_directory
from virtlayer.protocol.disk_format import HEADER_READ, BadDisk, disk_format
from virtlayer.protocol.pools import Pool

MADE = "made"


def note_made(
    own: OwnDirectory, name: str, volume: int | None = None, *, is_disk: bool = False
) -> None:
    """Note that a volume was made by virtlayer. If that fails, it will not be deleted by virtlayer.

    Args:
        own: ``.virtlayer`` of the pool.
        name: The name of the volume.
        volume: A descriptor of the volume, which gets its name later; None if it has it.
        is_disk: Whether it is the disk of a machine: then its format is noted, too.
    """
    with contextlib.suppress(OSError, PoolUnsupported), opened(own.open_part(MADE)) as notes:
        place = (own.pool_directory, name) if volume is None else (volume, "")
        disk = _disk_format(volume) if is_disk and volume is not None else None
        note = _written(inode_and_birth(*place), disk)
        with contextlib.suppress(FileNotFoundError):
            # The note of an earlier volume of that name, which another program has deleted.
            os.unlink(_note(name), dir_fd=notes)
        os.symlink(note, _note(name), dir_fd=notes)


def is_made(pool: Pool, name: str) -> bool:
    """Whether virtlayer has made the volume that has this name now.

    Raises:
        PoolUnsupported: ``.virtlayer`` is something else.
        OSError: The pool's directory cannot be read.
    """
    with contextlib.suppress(FileNotFoundError), existing_own_directory(pool) as own:
        if own is not None:
            with _notes(own) as notes:
                note = os.readlink(_note(name), dir_fd=notes)
            return _is_of(note, inode_and_birth(own.pool_directory, name))
    return False


def made_disk_format(own: OwnDirectory, name: str) -> str | None:
    """The format of a machine's disk that virtlayer has placed, as it was then.

    Args:
        own: ``.virtlayer`` of the pool.
        name: The name of a volume.

    Returns:
        "qcow2" or "raw"; None if it is another volume, or was not placed by virtlayer.

    Raises:
        PoolUnsupported: ``.virtlayer/made`` is something else.
        OSError: It cannot be read.
    """
    if "/" in name:
        return None
    with contextlib.suppress(FileNotFoundError), _notes(own) as notes:
        note = os.readlink(_note(name), dir_fd=notes)
        if _is_of(note, inode_and_birth(own.pool_directory, name)):
            return _noted_format(note)
    return None


def forget_made(pool: Pool, name: str) -> None:
    """Delete the note of a volume that no longer exists, if that is possible."""
    with contextlib.suppress(OSError, PoolUnsupported), existing_own_directory(pool) as own:
        if own is not None:
            with _notes(own) as notes:
                os.unlink(_note(name), dir_fd=notes)


def forget_others(own: OwnDirectory) -> None:
    """Delete the notes of all volumes that the pool does not have.

    Raises:
        PoolUnsupported: ``.virtlayer/made`` is something else.
        OSError: It cannot be read.
    """
    with contextlib.suppress(FileNotFoundError), _notes(own) as notes:
        noted = set(_names(notes))
        noted.difference_update(map(_note, _names(own.pool_directory)))
        for note in noted:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(note, dir_fd=notes)


@contextlib.contextmanager
def _notes(own: OwnDirectory) -> Iterator[int]:
    """Open the directory of notes if there is one.

    Raises:
        FileNotFoundError: There is none.
    """
    os.stat(MADE, dir_fd=own.descriptor, follow_symlinks=False)
    with opened(own.open_part(MADE)) as notes:
        yield notes


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _note(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()


def _disk_format(volume: int) -> str | None:
    """The format of a disk; None if its header cannot be used, so that nothing is based on it."""
    try:
        return disk_format(os.pread(volume, HEADER_READ, 0))
    except BadDisk:
        return None


def _written(volume: tuple[int, int], disk: str | None) -> str:
    inode, birth = volume
    return f"{inode} {birth}" if disk is None else f"{inode} {birth} {disk}"


def _noted_format(note: str) -> str | None:
    words = note.split(" ")
    return words[2] if len(words) > 2 else None


def _is_of(note: str, volume: tuple[int, int]) -> bool:
    """Whether a note is about a volume; a time counts only if both have one.

    Another host may have a kernel that does not know when a file on a server was made.
    """
    inode, birth = volume
    noted_inode, noted_birth, *_ = [*note.split(" "), ""]
    return noted_inode == str(inode) and (birth == 0 or noted_birth in {"0", str(birth)})
