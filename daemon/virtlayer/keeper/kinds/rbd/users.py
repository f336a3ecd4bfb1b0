# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the users of the images of an RBD pool: other images, clients of the cluster, and domains.

The process of the pool finds children, snapshots and watchers. A domain that does not run has no
watcher, so libvirt is asked for all domains, their snapshots and checkpoints. A disk of a domain is
an image of the pool if it has the same names of a pool and an image, unless it is certain to be in
another cluster. libvirt can also name an image as a volume, of this pool of libvirt or of another
one for the same pool of the cluster.
Machines boot local copies of kernels and initrds, which are counted as well.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from virtlayer.errors import Libvirt, PoolUnsupported
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.disks import all_descriptions, parse_disks
from virtlayer.keeper.domains.metadata import parse_metadata
from virtlayer.keeper.kinds.rbd.images import find_images, volume_of
from virtlayer.keeper.kinds.rbd.processes import RbdProcesses
from virtlayer.keeper.kinds.rbd.source import RbdSource, parse_monitors, parse_source
from virtlayer.keeper.local_boot.place import local_directory
from virtlayer.keeper.xml import parse_pool_kind
from virtlayer.protocol import rbd
from virtlayer.protocol.boot_names import is_boot_volume
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.pools import Pool, Usage
from virtlayer.protocol.rbd import Monitor

_AT_A_TIME = 500
"""Images in one request, which takes milliseconds for each of them."""
_DEFAULT_POOL = "rbd"
"""The pool of an image whose name has no pool."""


@dataclass(frozen=True, slots=True)
class NetworkDisk:
    """An RBD image that a domain names.

    Attributes:
        user: The domain, in words.
        pool: The pool in the cluster.
        image: The image.
        monitors: The monitors; empty for those of the host's ceph.conf.
    """

    user: str
    pool: str
    image: str
    monitors: tuple[Monitor, ...]


@dataclass(frozen=True, slots=True)
class VolumeDisk:
    """A volume of a pool of libvirt that a domain names."""

    user: str
    pool: str
    volume: str


async def rbd_users(
    hypervisor: Hypervisor,
    processes: RbdProcesses,
    pool: Pool,
    layers: Set[str] | None,
    of: Collection[str],
) -> Usage:
    """Find the users of images.

    Args:
        hypervisor: The connection to libvirt.
        processes: The processes of the pools in use.
        pool: The pool.
        layers: The names of its own layers, which are not counted as users of other images; None
            for all layers that there are.
        of: The images whose users are needed.

    Raises:
        VirtlayerError: libvirt or the cluster does not answer.
    """
    process = await processes.of(pool)
    # Without layers, only clones need an image, and the process finds those.
    needs_all = layers is not None or any(map(is_layer_volume, of))
    images = await find_images(process, None if needs_all else of, measure=needs_all)
    volumes = {image.name: volume_of(pool, image) for image in images}
    users: dict[str, list[str]] = {}
    for volume in volumes.values():
        backing = volume.backing_in(pool)
        is_layer = is_layer_volume(volume.name)
        if backing is not None and is_layer and layers is not None and volume.name not in layers:
            # The process leaves out the layers of all hosts.
            users.setdefault(backing, []).append(f'the volume "{volume.name}" in "{pool.name}"')
    for some in itertools.batched(volumes.keys() & set(of), _AT_A_TIME):
        found = await process.ask(rbd.USERS, rbd.ImageNames(some))
        for name, more in found.users.items():
            users.setdefault(name, []).extend(more)
    pools, descriptions = await hypervisor.call(_rbd_pools), await all_descriptions(hypervisor)
    elsewhere = processes.of_other_clusters(process.opened.cluster)
    is_ours = partial(process.source.may_be, elsewhere=elsewhere)
    directory = local_directory(hypervisor.uri)
    for name, user in itertools.chain(
        _domains(is_ours, pools, descriptions), local_boot_users(directory, pool, descriptions)
    ):
        users.setdefault(name, []).append(user)
    chains = {name: volume.in_chain(pool) for name, volume in volumes.items()}
    return Usage(chains, {name: tuple(sorted(set(found))) for name, found in users.items()})


def _domains(
    is_ours: Callable[[str, tuple[Monitor, ...]], bool],
    pools: Mapping[str, RbdSource],
    descriptions: list[tuple[str, str]],
) -> Iterator[tuple[str, str]]:
    """The images of a pool that domains name, each with the domain in words."""
    for user, text in descriptions:
        for disk in parse_rbd_disks(user, text):
            match disk:
                case NetworkDisk() if is_ours(disk.pool, disk.monitors):
                    yield disk.image, user
                case VolumeDisk() if disk.pool in pools:
                    other = pools[disk.pool]
                    if is_ours(other.pool, other.monitors):
                        yield disk.volume, user


def local_boot_users(
    directory: Path, pool: Pool, descriptions: list[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """The kernels and initrds of a pool whose local copies its machines boot, with the machines."""
    for user, text in descriptions:
        metadata = parse_metadata(ElementTree.fromstring(text))  # noqa: S314 -- libvirt wrote it
        if metadata is not None and metadata.pool == pool.uuid:
            for disk in parse_disks(user, text):
                if disk.path and disk.path.parent == directory and is_boot_volume(disk.path.name):
                    yield disk.path.name, user


def parse_rbd_disks(user: str, text: str) -> Iterator[NetworkDisk | VolumeDisk]:
    """Read the disks that can be RBD images in the description of a domain or of its snapshot.

    The format is libvirt's domain XML (https://libvirt.org/formatdomain.html "Hard drives, floppy
    disks, CDROMs").
    """
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    for source in root.iter("source"):
        if source.get("protocol") == "rbd":
            pool, slash, image = (source.get("name") or "").partition("/")
            if not slash:
                pool, image = _DEFAULT_POOL, pool
            # A name with a namespace has another slash: no image of ours is in one.
            yield NetworkDisk(user, pool, image, parse_monitors(source))
        elif (name := source.get("pool")) and (volume := source.get("volume")):
            yield VolumeDisk(user, name, volume)


def _rbd_pools(connection: Connection) -> dict[str, RbdSource]:
    """The pools of libvirt that are RBD pools, active or not, by their names."""
    found = {}
    for pool in connection.listAllStoragePools():
        text = pool.XMLDesc()
        if parse_pool_kind(text) == "rbd":
            try:
                found[pool.name()] = parse_source(text)
            except (PoolUnsupported, Libvirt):
                continue
    return found
