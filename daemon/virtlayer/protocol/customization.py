# SPDX-License-Identifier: LGPL-2.1-or-later
"""The customization of a volume, checked, and as a message to the worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from virtlayer.protocol.hostname import checked_hostname
from virtlayer.protocol.id_ranges import IdMap, IdRange, Owners
from virtlayer.protocol.ssh_keys import checked_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Customization:
    """Changes to the file system of one volume; without arguments, there are none.

    Attributes:
        root_password_hash: Root's password as crypt(5) has it.
        ssh_authorized_keys: Public keys that may log in as root.
        hostname: The machine's name.
        uid_map: Ranges of user ids.
        gid_map: Ranges of group ids.
        contained: Whether these maps are those of a user namespace: every id must be in one, the
            capabilities of files hold only in it, and there are no devices.
        filesystem_size: What the file system grows to, in bytes.
        fresh_identity: Whether the machine ID and the ssh host keys of the image are replaced.

    Raises:
        InvalidArgument: One of them is invalid.
    """

    root_password_hash: str | None = dataclasses.field(default=None, repr=False)
    ssh_authorized_keys: tuple[str, ...] = ()
    hostname: str | None = None
    uid_map: tuple[IdRange, ...] = ()
    gid_map: tuple[IdRange, ...] = ()
    contained: bool = False
    filesystem_size: int | None = None
    fresh_identity: bool = False

    def __post_init__(self) -> None:
        checked_keys(self.ssh_authorized_keys)
        if self.hostname is not None:
            checked_hostname(self.hostname)
        _ = self.owners

    def __bool__(self) -> bool:
        return self != Customization()

    @property
    def owners(self) -> Owners:
        """The maps of ids."""
        contained = self.contained
        return Owners(
            IdMap(self.uid_map, "uid-map", is_complete=contained),
            IdMap(self.gid_map, "gid-map", is_complete=contained),
            contained,
        )

    def message(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "root_password_hash": self.root_password_hash,
            "ssh_authorized_keys": self.ssh_authorized_keys,
            "hostname": self.hostname,
            "uid_map": [dataclasses.astuple(one) for one in self.uid_map],
            "gid_map": [dataclasses.astuple(one) for one in self.gid_map],
            "contained": self.contained,
            "filesystem_size": self.filesystem_size,
            "fresh_identity": self.fresh_identity,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """Convert the result of ``message`` back to a value."""
        return cls(
            root_password_hash=message["root_password_hash"],
            ssh_authorized_keys=tuple(message["ssh_authorized_keys"]),
            hostname=message["hostname"],
            uid_map=id_ranges(message["uid_map"]),
            gid_map=id_ranges(message["gid_map"]),
            contained=message["contained"],
            filesystem_size=message["filesystem_size"],
            fresh_identity=message["fresh_identity"],
        )


def id_ranges(triples: Iterable[Iterable[int]]) -> tuple[IdRange, ...]:
    """Ranges from triples of start, target and count."""
    return tuple(IdRange(*triple) for triple in triples)
