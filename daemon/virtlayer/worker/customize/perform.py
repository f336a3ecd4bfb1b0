# SPDX-License-Identifier: LGPL-2.1-or-later
"""Applies a customization to a tree."""

from __future__ import annotations

import dataclasses

from virtlayer.protocol.customization import Customization
from virtlayer.protocol.hostname import hostname_file
from virtlayer.protocol.id_ranges import UnmappedId
from virtlayer.protocol.ssh_keys import with_keys
from virtlayer.worker.customize.accounts import (
    Account,
    group_number,
    password_in_shadow,
    root_account,
    with_root_password,
)
from virtlayer.worker.customize.files import (
    CannotCustomize,
    EditableTree,
    ImageFile,
    ImageFiles,
)
from virtlayer.worker.customize.fresh_identity import NewHostKeys, refresh_identity

_PASSWD, _SHADOW, _GROUP = b"etc/passwd", b"etc/shadow", b"etc/group"
_HOSTNAME = b"etc/hostname"
_NANOSECONDS_PER_DAY = 86_400 * 1_000_000_000
_NOT_OTHERS = 0o770


def customize(
    tree: EditableTree,
    customization: Customization,
    now: int,
    new_host_keys: NewHostKeys | None = None,
) -> bool:
    """Change a tree.

    Args:
        tree: The tree.
        customization: What to change; the caller grows the file system.
        now: Nanoseconds since 1970.
        new_host_keys: Makes the keys of a fresh identity; None if none is wanted.

    Returns:
        Whether an identity of the image was replaced.

    Raises:
        CannotCustomize: The image lacks a file that is needed, or has something else in its place.
    """
    files = ImageFiles(tree, now)
    if customization.root_password_hash is not None:
        _set_password(files, customization.root_password_hash.encode(), now)
    if customization.ssh_authorized_keys:
        _authorize(files, customization.ssh_authorized_keys)
    if customization.hostname is not None:
        content = hostname_file(customization.hostname)
        there = files.read(_HOSTNAME) or ImageFile(b"", 0o644)
        files.write(_HOSTNAME, dataclasses.replace(there, content=content))
    replaced = False
    if customization.fresh_identity:
        assert new_host_keys is not None, "this worker makes no keys"
        replaced = refresh_identity(tree, files, new_host_keys)
    # Last, so that files that were added above are mapped like those of the image.
    if customization.uid_map or customization.gid_map:
        _map_owners(tree, customization)
    return replaced


def _map_owners(tree: EditableTree, customization: Customization) -> None:
    try:
        tree.map_owners(customization.owners)
    except UnmappedId as error:
        kind = "user" if error.name == "uid-map" else "group"
        raise CannotCustomize(
            f"has a file of {kind} {error.number}, which is outside the IDs of a container. Pull "
            'it without the option "id-map"'
        ) from error


def _set_password(files: ImageFiles, hashed: bytes, now: int) -> None:
    passwd, _ = _root(files)
    shadow = files.read(_SHADOW) or _new_shadow(files)
    files.write(
        _SHADOW,
        dataclasses.replace(
            shadow,
            content=with_root_password(shadow.content, hashed, now // _NANOSECONDS_PER_DAY),
            mode=shadow.mode & _NOT_OTHERS,
        ),
    )
    content = password_in_shadow(passwd.content)
    if content != passwd.content:
        files.write(_PASSWD, dataclasses.replace(passwd, content=content))


def _new_shadow(files: ImageFiles) -> ImageFile:
    """Mode and owner as in Debian if the image has the group shadow; for root only if not."""
    groups = files.read(_GROUP)
    shadow = None if groups is None else group_number(groups.content, b"shadow")
    return ImageFile(b"", 0o600) if shadow is None else ImageFile(b"", 0o640, gid=shadow)


def _authorize(files: ImageFiles, keys: tuple[str, ...]) -> None:
    _, root = _root(files)
    directory = root.home.strip(b"/") + b"/.ssh"
    path = directory + b"/authorized_keys"
    # sshd trusts neither directory nor file where others could have written (StrictModes).
    files.own_directory(directory, 0o700, root.uid, root.gid)
    there = files.read(path) or ImageFile(b"", 0o600)
    files.write(
        path,
        dataclasses.replace(
            there,
            content=with_keys(there.content, keys),
            mode=0o600,
            uid=root.uid,
            gid=root.gid,
        ),
    )


def _root(files: ImageFiles) -> tuple[ImageFile, Account]:
    passwd = files.read(_PASSWD)
    if passwd is None:
        raise CannotCustomize("has no /etc/passwd, so root cannot log in")
    account = root_account(passwd.content)
    if account is None:
        raise CannotCustomize('has no user "root" in its /etc/passwd')
    return passwd, account
