# SPDX-License-Identifier: LGPL-2.1-or-later
"""Notes about the domains of this host that have local files.

``domains/<uuid>`` is a symlink whose text is the UUID of the pool, then that of a ``DomainNote``.
It is made before the files, so a sweep finds what a killed process has left. Other hosts need no
note: the record of a machine's volume, which is in the pool, names its kernel and its initrd.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from virtlayer.cancellation import to_completion
from virtlayer.keeper.beneath import open_directory_beneath, opened
from virtlayer.keeper.kinds.domain_note import DomainNote
from virtlayer.keeper.local_boot.place import with_existing_place, with_place

_DOMAINS = "domains"
_MODE = 0o700


class LocalNotes:
    """The notes about the domains of one libvirt.

    Args:
        path: The directory of their local files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def add(self, pool: str, uuid: str, note: DomainNote) -> None:
        """Note a domain, unless there is a note about it.

        Args:
            pool: The UUID of its pool.
            uuid: The domain.
            note: What is noted.

        Raises:
            VirtlayerError: The directory cannot be written.
        """

        def add(directory: int) -> None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_DOMAINS, _MODE, dir_fd=directory)
            with opened(open_directory_beneath(directory, _DOMAINS)) as notes:
                with contextlib.suppress(FileExistsError):
                    os.symlink(f"{pool}\n{note.text()}", uuid, dir_fd=notes)
                os.fsync(notes)

        await to_completion(with_place(self._path, add))

    async def forget(self, uuid: str) -> None:
        """Delete the note about a domain, if there is one.

        Raises:
            VirtlayerError: The directory cannot be written.
        """

        def forget(directory: int) -> None:
            with (
                contextlib.suppress(FileNotFoundError),
                opened(open_directory_beneath(directory, _DOMAINS)) as notes,
            ):
                os.unlink(uuid, dir_fd=notes)

        await to_completion(with_existing_place(self._path, forget, None))

    async def of_pool(self, pool: str) -> Mapping[str, DomainNote]:
        """Return the notes about the domains of a pool, by their UUIDs.

        Args:
            pool: The UUID of the pool.

        Raises:
            VirtlayerError: The directory cannot be read.
        """
        notes = await self.all()
        return {uuid: note for uuid, (its_pool, note) in notes.items() if its_pool == pool}

    async def all(self) -> Mapping[str, tuple[str, DomainNote]]:
        """Return all notes, each after the UUID of its pool, by the UUIDs of the domains.

        Raises:
            VirtlayerError: The directory cannot be read.
        """
        texts = await with_existing_place(self._path, _texts, dict[str, str]())
        parts = {uuid: text.partition("\n") for uuid, text in texts.items()}
        return {uuid: (pool, DomainNote.parsed(rest)) for uuid, (pool, _, rest) in parts.items()}


def _texts(directory: int) -> dict[str, str]:
    try:
        notes = open_directory_beneath(directory, _DOMAINS)
    except FileNotFoundError:
        return {}
    with opened(notes), os.scandir(notes) as entries:
        return {entry.name: os.readlink(entry.name, dir_fd=notes) for entry in entries}
