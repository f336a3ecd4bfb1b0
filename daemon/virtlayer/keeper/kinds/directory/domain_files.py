# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of a pool that belong to one domain: its configuration and its seed.

``.virtlayer/domains/<uuid>`` is a symlink whose text names the host of the domain, then the domain.
It is made before the files. So a sweep finds what a killed process has left: files of a domain of
this host that libvirt does not have.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping

from virtlayer.errors import Internal, VolumeNotFound
from virtlayer.keeper.beneath import (
    find_regular,
    open_beneath,
    open_directory,
    open_directory_beneath,
    opened,
)
from virtlayer.keeper.kinds.directory.made import is_made
from virtlayer.keeper.kinds.directory.own_directory import (
    OwnDirectory,
    existing_own_directory,
    own_directory,
)
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.protocol.pools import Pool

DOMAINS = "domains"
_MODE = 0o600


def check_made(pool: Pool, name: str, *, is_directory: bool = False) -> None:
    """Check that virtlayer has made a volume, and that it is what a domain needs.

    Raises:
        VolumeNotFound: There is no such volume of ours.
        OSError: The pool's directory cannot be read.
    """
    with opened(open_directory(pool.path)) as directory:
        fits = _is_directory(directory, name) if is_directory else _is_file(directory, name)
    if not fits or not is_made(pool, name):
        raise VolumeNotFound(
            f'The pool "{pool.name}" has no volume "{name}" that was made by virtlayer.'
        )


def write_domain_files(
    pool: Pool, uuid: str, note: DomainNote, files: Mapping[str, int], owner: int | None
) -> None:
    """Write the files of a domain, which can be read by this process's user only.

    If one cannot be written, none of them is left.

    Args:
        pool: The pool.
        uuid: The domain.
        note: What is noted about it.
        files: Descriptors of the contents, by the names of the files.
        owner: The uid and gid of the user of the host that they are for; None for this process's.

    Raises:
        Internal: A file of that name exists.
        PoolUnsupported: ``.virtlayer`` is something else.
        OSError: They cannot be written.
    """
    with own_directory(pool) as own:
        with opened(own.open_part(DOMAINS)) as notes, contextlib.suppress(FileExistsError):
            os.symlink(note.text(), uuid, dir_fd=notes)
        written: list[str] = []
        try:
            for name, content in files.items():
                _write(own, name, content, written, owner)
            os.fsync(own.pool_directory)
        except BaseException:
            remove_domain_files(pool, written)
            raise


def remove_domain_files(pool: Pool, names: Iterable[str]) -> None:
    """Remove files of a domain, as far as they exist.

    Raises:
        OSError: The pool's directory cannot be written.
    """
    with opened(open_directory(pool.path)) as directory:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)


def forget_domain(pool: Pool, uuid: str) -> None:
    """Delete the note of a domain, if there is one."""
    with contextlib.suppress(FileNotFoundError), existing_own_directory(pool) as own:
        if own is not None:
            with opened(open_directory_beneath(own.descriptor, DOMAINS)) as notes:
                os.unlink(uuid, dir_fd=notes)


def noted_domains(pool: Pool) -> Mapping[str, DomainNote]:
    """The notes about all domains of a pool, by UUID.

    Raises:
        PoolUnsupported: ``.virtlayer`` is something else.
        OSError: The notes cannot be read.
    """
    found: dict[str, DomainNote] = {}
    with contextlib.suppress(FileNotFoundError), existing_own_directory(pool) as own:
        if own is not None:
            with opened(open_directory_beneath(own.descriptor, DOMAINS)) as notes:
                with os.scandir(notes) as entries:
                    names = [entry.name for entry in entries]
                for uuid in names:
                    with contextlib.suppress(OSError):
                        found[uuid] = DomainNote.parsed(os.readlink(uuid, dir_fd=notes))
    return found


def _write(
    own: OwnDirectory, name: str, content: int, written: list[str], owner: int | None
) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        file = open_beneath(own.pool_directory, name, flags, _MODE)
    except FileExistsError as error:
        raise Internal(f"The file {name} exists in the pool. It was not replaced.") from error
    written.append(name)
    with opened(file):
        size = os.fstat(content).st_size
        position = 0
        while position < size:
            position += os.sendfile(file, content, position, size - position)
        if owner is not None:
            os.fchown(file, owner, owner)
        os.fsync(file)


def _is_file(directory: int, name: str) -> bool:
    with contextlib.suppress(OSError), opened(find_regular(directory, name)):
        return True
    return False


def _is_directory(directory: int, name: str) -> bool:
    with contextlib.suppress(OSError), opened(open_beneath(directory, name, os.O_PATH)) as found:
        return stat.S_ISDIR(os.fstat(found).st_mode)
    return False
