# SPDX-License-Identifier: LGPL-2.1-or-later
"""The request for a new writable volume, in CreateVolume and in Pull."""

import asyncio
import dataclasses
from dataclasses import dataclass, field

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.domain_files import domain_in_name
from virtlayer.protocol.id_ranges import IdRange
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.names import VolumeName
from virtlayer.protocol.ssh_keys import checked_keys
from virtlayer.service.source.passed_descriptor import content_of
from virtlayer.sizes import check_virtual_size, human_size

_PASSWORD_LIMIT = 4096
"""Bytes that are read where a password should be; libcrypt's own limit is lower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVolume:
    """A requested volume; ``repr()`` shows no secret.

    Attributes:
        name: Its exact name in the pool.
        size: Virtual size in bytes; None for the image's.
        grow_filesystem: Whether the file system becomes as large.
        root_password: The password of root in clear text.
        root_password_fd: A descriptor to read it from; the caller closes it.
        ssh_authorized_keys: Public keys for root.
        hostname: The machine's name.
        uid_map: Ranges of user ids.
        gid_map: Ranges of group ids.
        keep_identity: Whether it keeps the machine ID and the ssh host keys of the image.

    Raises:
        InvalidArgument: One of them is invalid.
    """

    name: VolumeName
    size: int | None = None
    grow_filesystem: bool = False
    root_password: str | None = field(default=None, repr=False)
    root_password_fd: int | None = None
    ssh_authorized_keys: tuple[str, ...] = ()
    hostname: str | None = None
    uid_map: tuple[IdRange, ...] = ()
    gid_map: tuple[IdRange, ...] = ()
    keep_identity: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.size is not None:
            check_virtual_size('option "size"', self.size)
        if self.root_password is not None and self.root_password_fd is not None:
            raise InvalidArgument(
                'The option "root-password" and the option "root-password-fd" exclude each other.'
            )
        _ = self._without_password(None)

    def size_on(self, image_size: int, image: str) -> int:
        """Return the virtual size, in bytes, for a volume on an image.

        Args:
            image_size: The size of the image, in bytes.
            image: The name of the image, for the error.

        Raises:
            InvalidArgument: It is smaller than the image.
        """
        size = image_size if self.size is None else self.size
        if size < image_size:
            raise InvalidArgument(
                f'The volume "{self.name}" cannot have {human_size(size)}: the image "{image}" has '
                f"{human_size(image_size)}. Pull the image with a smaller size, or omit the size."
            )
        return size

    async def settled(self, deadline: float) -> "NewVolume":
        """Read the password from the descriptor, while it is open.

        Args:
            deadline: From ``secrets_deadline``.

        Raises:
            InvalidArgument: It does not give a password.
        """
        password = await self._password(deadline)
        return dataclasses.replace(self, root_password=password, root_password_fd=None)

    async def customization(self, size: int, *, identity: bool | None = None) -> Customization:
        """Return the customization of the volume.

        Args:
            size: The virtual size in bytes.
            identity: Whether the image has an identity to replace; None if that is not known.

        Raises:
            InvalidArgument: The password is invalid.
        """
        assert self.root_password_fd is None, "its secrets were not read"
        changes = dataclasses.replace(
            self._without_password(size if self.grow_filesystem else None),
            fresh_identity=identity is not False and not self.keep_identity,
        )
        password = self.root_password
        if password is None:
            return changes
        # Only here: ctypes would cost every idle daemon 0.7 MB.
        from virtlayer.service.operations.passwords import hash_password

        return dataclasses.replace(
            changes, root_password_hash=await asyncio.to_thread(hash_password, password)
        )

    def _without_password(self, filesystem_size: int | None) -> Customization:
        return Customization(
            ssh_authorized_keys=checked_keys(self.ssh_authorized_keys),
            hostname=self.hostname,
            uid_map=self.uid_map,
            gid_map=self.gid_map,
            filesystem_size=filesystem_size,
        )

    async def _password(self, deadline: float) -> str | None:
        descriptor = self.root_password_fd
        if descriptor is None:
            return self.root_password
        content = await content_of(
            descriptor, 'The option "root-password-fd"', _PASSWORD_LIMIT, deadline
        )
        try:
            return content.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            # From nothing: the error would show what it could not read.
            raise InvalidArgument(
                'The option "root-password-fd" gives data that is not valid UTF-8.'
            ) from None


def _check_name(name: VolumeName) -> None:
    if name.startswith("."):
        raise InvalidArgument(
            f'Invalid name "{name}" of a new volume: it must not begin with a dot.'
        )
    if is_layer_volume(name):
        raise InvalidArgument(
            f'Invalid name "{name}" of a new volume: it is reserved for layers of images.'
        )
    if is_boot_volume(name):
        raise InvalidArgument(
            f'Invalid name "{name}" of a new volume: it is reserved for kernels and initrds.'
        )
    if domain_in_name(name) is not None:
        raise InvalidArgument(
            f'Invalid name "{name}" of a new volume: it is reserved for the files of a machine.'
        )
