# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes the identity of an image from the volume of one machine, which gets its own.

The ID is left empty: systemd makes a new one at the next boot. Host keys are replaced at once,
because not every image makes them when it boots, and sshd does not start without any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from virtlayer.worker.customize.files import (
    CannotCustomize,
    EditableTree,
    ImageFile,
    ImageFiles,
)
from virtlayer.worker.identity import (
    HOST_KEYS,
    MACHINE_ID,
    dbus_machine_id,
    host_keys,
    machine_id,
)
from virtlayer.worker.tree import NO_ATTRIBUTES

_LABEL = b"security.selinux"
_PRIVATE_MODE, _PUBLIC_MODE = 0o600, 0o644


class HostKey(NamedTuple):
    """A new host key.

    Attributes:
        kind: The part of the file's name, such as ``ed25519``.
        private: The content of the file with the private key.
        public: The content of the file with the public key.
    """

    kind: str
    private: bytes
    public: bytes


type NewHostKeys = Callable[[], Iterable[HostKey]]
"""Makes new host keys, one of each kind."""


def refresh_identity(tree: EditableTree, files: ImageFiles, new_host_keys: NewHostKeys) -> bool:
    """Remove the machine ID, and replace the ssh host keys, if there are any.

    Args:
        tree: The image.
        files: The files in it.
        new_host_keys: Called if there are host keys.

    Returns:
        Whether the image had an identity.

    Raises:
        CannotCustomize: Something else than a file is in the place of a new key.
    """
    # All of them are found before the first is changed: one can be a symlink to another.
    old_id = machine_id(tree)
    has = None if old_id is None else tree.metadata(old_id.node)
    old_dbus_id, old_keys = dbus_machine_id(tree), host_keys(tree)
    label = (
        None if old_keys is None else tree.metadata(old_keys.private.node).attributes.get(_LABEL)
    )
    if has is not None:
        # An empty file, and not none: systemd needs it where /etc is read-only.
        files.write(MACHINE_ID, ImageFile(b"", has.mode, has.uid, has.gid, has.attributes))
    # The same if /etc/machine-id is a symlink to it: then it was just emptied.
    if old_dbus_id is not None and old_dbus_id != old_id:
        tree.remove(old_dbus_id.directory, old_dbus_id.name)
    if old_keys is not None:
        attributes = NO_ATTRIBUTES if label is None else {_LABEL: label}
        for name in old_keys.names:
            tree.remove(old_keys.directory, name)
        _write_keys(files, new_host_keys(), attributes)
    return any(one is not None for one in (old_id, old_dbus_id, old_keys))


def _write_keys(
    files: ImageFiles, keys: Iterable[HostKey], attributes: Mapping[bytes, bytes]
) -> None:
    for key in keys:
        path = HOST_KEYS + f"/ssh_host_{key.kind}_key".encode()
        try:
            files.write(path, ImageFile(key.private, _PRIVATE_MODE, attributes=attributes))
            files.write(path + b".pub", ImageFile(key.public, _PUBLIC_MODE, attributes=attributes))
        except CannotCustomize as error:
            raise CannotCustomize(
                f"{error.problem}, so its ssh host keys cannot be replaced. Use the option "
                '"keep-identity" to keep them'
            ) from error
