# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds what an image would give to all its machines, and should be different in each of them.

That is the ID of machine-id(5), also in the place where D-Bus keeps it, and the host keys of
sshd(8). Symlinks are followed inside the image only.
"""

from __future__ import annotations

from typing import NamedTuple

from virtlayer.worker.paths import Lost, Place, directory_of, place_of
from virtlayer.worker.tree import REGULAR, SYMLINK, ReadableTree

MACHINE_ID = b"etc/machine-id"
HOST_KEYS = b"etc/ssh"
_DBUS_DIRECTORY, _DBUS_NAME = b"var/lib/dbus", b"machine-id"
_NO_ID = (b"", b"uninitialized")
"""Contents that systemd replaces by a new ID. The second also says that this is the first boot."""
_ID_LIMIT = 4096
_KEY_PREFIX = b"ssh_host_"
_PRIVATE, _PUBLIC = b"_key", b"_key.pub"
_KEYS_LIMIT = 64
"""The most keys that are looked at: to follow very many symlinks would take long."""


class FoundFile(NamedTuple):
    """A regular file of an image."""

    directory: int
    name: bytes
    node: int


class HostKeys(NamedTuple):
    """The host keys of an image.

    Attributes:
        directory: The node of /etc/ssh.
        names: The names of all private and public keys there, sorted.
        private: A file with a private key.
    """

    directory: int
    names: tuple[bytes, ...]
    private: FoundFile


def has_identity(tree: ReadableTree) -> bool:
    """Whether machines that are made from this image would share an identity."""
    return (
        machine_id(tree) is not None
        or dbus_machine_id(tree) is not None
        or host_keys(tree) is not None
    )


def machine_id(tree: ReadableTree) -> FoundFile | None:
    """The file that /etc/machine-id leads to, if it has an ID."""
    return _with_id(tree, _file(tree, MACHINE_ID))


def dbus_machine_id(tree: ReadableTree) -> FoundFile | None:
    """The file /var/lib/dbus/machine-id, if it has an ID; a symlink has none of its own."""
    directory = _directory(tree, _DBUS_DIRECTORY)
    if directory is None:
        return None
    child = tree.find(directory, _DBUS_NAME)
    return _with_id(tree, _found(Place(directory, _DBUS_NAME, child)))


def host_keys(tree: ReadableTree) -> HostKeys | None:
    """The host keys in /etc/ssh; None if there is no private key, in a file or behind a symlink."""
    directory = _directory(tree, HOST_KEYS)
    if directory is None:
        return None
    kinds = {
        name: child.kind
        for name in sorted(tree.names(directory))
        if _is_key(name)
        and (child := tree.find(directory, name)) is not None
        and child.kind in (REGULAR, SYMLINK)
    }
    # Files come first: a symlink is only followed if there are none.
    private = sorted((name for name in kinds if name.endswith(_PRIVATE)), key=kinds.__getitem__)
    for name in private[:_KEYS_LIMIT]:
        key = _file(tree, HOST_KEYS + b"/" + name)
        if key is not None:
            return HostKeys(directory, tuple(kinds), key)
    return None


def _is_key(name: bytes) -> bool:
    return name.startswith(_KEY_PREFIX) and name.endswith((_PRIVATE, _PUBLIC))


def _file(tree: ReadableTree, path: bytes) -> FoundFile | None:
    try:
        return _found(place_of(tree, path, None))
    except Lost:
        return None


def _directory(tree: ReadableTree, path: bytes) -> int | None:
    try:
        return directory_of(tree, path, None)
    except Lost:
        return None


def _found(place: Place) -> FoundFile | None:
    if place.child is None or place.child.kind != REGULAR:
        return None
    return FoundFile(place.directory, place.name, place.child.node)


def _with_id(tree: ReadableTree, file: FoundFile | None) -> FoundFile | None:
    if file is None:
        return None
    content = tree.content(file.node, _ID_LIMIT)
    return file if content is None or content.strip() not in _NO_ID else None
