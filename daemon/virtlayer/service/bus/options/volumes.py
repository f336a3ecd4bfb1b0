# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options for writable volumes."""

from collections.abc import Sequence
from dataclasses import dataclass

from virtlayer.protocol.customization import id_ranges
from virtlayer.protocol.names import parse_volume_name
from virtlayer.service.bus.options.parsing import DESCRIPTOR, option
from virtlayer.service.operations.new_volume import NewVolume


@dataclass(frozen=True, kw_only=True)  # no slots: PullOptions has two bases
class CustomizationOptions:
    """The options that customize a writable volume."""

    grow_filesystem: bool = option("b", default=False)
    root_password: str | None = option("s", secret=True)
    root_password_fd: int | None = option(DESCRIPTOR, secret=True)
    ssh_authorized_keys: Sequence[str] | None = option("as")
    hostname: str | None = option("s")
    uid_map: Sequence[Sequence[int]] | None = option("a(uuu)")
    gid_map: Sequence[Sequence[int]] | None = option("a(uuu)")
    keep_identity: bool = option("b", default=False)

    def new_volume(self, name: str, size: int | None) -> NewVolume:
        """Return the requested volume.

        Args:
            name: Its name.
            size: Its virtual size in bytes; None for the image's.

        Raises:
            InvalidArgument: The name or an option is not valid.
        """
        return NewVolume(
            name=parse_volume_name(name),
            size=size,
            grow_filesystem=self.grow_filesystem,
            root_password=self.root_password,
            root_password_fd=self.root_password_fd,
            ssh_authorized_keys=tuple(self.ssh_authorized_keys or ()),
            hostname=self.hostname,
            uid_map=id_ranges(self.uid_map or ()),
            gid_map=id_ranges(self.gid_map or ()),
            keep_identity=self.keep_identity,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolumeOptions(CustomizationOptions):
    """The options of CreateVolume."""

    size: int | None = option("t")
