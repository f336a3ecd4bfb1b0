# SPDX-License-Identifier: LGPL-2.1-or-later
"""Describes all volumes of a pool, as libvirt does.

libvirt describes one volume at a time, and a pool can have thousands. Most are layers, which are
never written again. So the description of a layer is kept, and used as long as its file is the same
one and has not changed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.xml import parse_volume
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Volume

type _State = tuple[int, int, int, int]
"""Of a file: device, inode, time of the last change, size."""
_SETTLED_NS = 2_000_000_000
"""How long a file must be unchanged at a refresh, so that its time tells it from the next change.
File systems have clocks of 1 to 10 ms, and hosts and servers do not agree exactly."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A volume.

    Attributes:
        name: Its name.
        state: Of its file, if it is a layer.
        text: libvirt's description; None if the one that is kept is of this file.
    """

    name: str
    state: _State | None
    text: str | None


class DescribedVolumes:
    """The volumes of the pools of one connection.

    Args:
        hypervisor: The connection.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._layers: dict[str, dict[str, tuple[_State, Volume]]] = {}
        """The layers by name, for each pool by its UUID."""

    async def all(self, pool: Pool, refreshed_at: int | None = None) -> list[Volume]:
        """Describe every volume of an active pool of files.

        Args:
            pool: The pool.
            refreshed_at: When the last refresh of the pool began, in nanoseconds since 1970; None
                if that is not known.

        Raises:
            PoolNotFound: The pool no longer exists.
            PoolInactive: The pool is not active.
        """
        known = self._layers.get(pool.uuid, {})
        states = {name: state for name, (state, _) in known.items()}
        volumes: list[Volume] = []
        layers: dict[str, tuple[_State, Volume]] = {}
        for found in await self._hypervisor.call(_found, pool, states):
            state = found.state
            volume = known[found.name][1] if found.text is None else parse_volume(found.text)
            volumes.append(volume)
            if state and (found.text is None or _is_settled(state, refreshed_at)):
                layers[found.name] = (state, volume)
        self._layers[pool.uuid] = layers
        return volumes


def _is_settled(state: _State, refreshed_at: int | None) -> bool:
    """Whether a description is of the file as it is: libvirt's is as old as the last refresh."""
    return refreshed_at is not None and state[2] < refreshed_at - _SETTLED_NS


def _found(connection: Connection, pool: Pool, known: Mapping[str, _State]) -> list[_Found]:
    directory = str(pool.path)
    listed = connection.storagePoolLookupByUUIDString(pool.uuid).listAllVolumes()
    found = []
    for volume in listed:
        name = volume.name()
        # First: a change in between gives the file another state than the one that is kept.
        state = _state(f"{directory}/{name}") if is_layer_volume(name) else None
        if state is not None and known.get(name) == state:
            found.append(_Found(name, state, None))
            continue
        try:
            found.append(_Found(name, state, volume.XMLDesc()))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
    return found


def _state(path: str) -> _State | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_ctime_ns, info.st_size
