# SPDX-License-Identifier: LGPL-2.1-or-later
"""The records of a pool about its images, layers and volumes.

A record contains no pool name, host name or path, so it stays valid if its pool is moved or copied.
The classes define the format of the files: each field is a field of the JSON (``json_files``).
"""

from dataclasses import dataclass

from virtlayer.protocol.records import RecordKind
from virtlayer.service.records.fields import (
    BootSource,
    BootVolume,
    Bytes,
    Config,
    ConfigOfVolume,
    Digest,
    HostId,
    ImageName,
    KernelVersion,
    LayerName,
    Microseconds,
    OsId,
    Text,
    Tools,
    Uid,
    Uuid,
    VolumeId,
    VolumeName,
)
from virtlayer.service.records.owners import Owner


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """One layer of an image.

    Attributes:
        diff_id: The digest of its uncompressed archive.
        volume: The name of the volume that contains it.
        bytes: The size of its blob.
    """

    diff_id: Digest
    volume: LayerName
    bytes: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """The image that a name refers to in a pool.

    Attributes:
        name: The name of the image in that pool.
        source: The reference that it was pulled by.
        digest: The digest of its manifest.
        image_id: The digest of its config.
        os: The operating system in the config.
        architecture: The architecture in the config.
        variant: The variant of the architecture; "" if none.
        config: The config's JSON text.
        size: The virtual size of the volumes, in bytes.
        layers: The layers, base first.
        volume: The name of the top volume.
        pulled_at: The time of the pull in microseconds since 1970.
        policy_scope: The scope of the signature policy that accepted it; "" if unknown.
        unsigned_accepted: Whether that scope accepted unsigned images.
        pulled_by: The UIDs of the users that pulled this manifest from this source into the pool.
    """

    name: ImageName
    source: Text
    digest: Digest
    image_id: Digest
    os: Text
    architecture: Text
    variant: Text
    config: Config
    size: Bytes
    layers: tuple[ImageLayer, ...]
    volume: LayerName
    pulled_at: Microseconds
    policy_scope: Text = ""
    unsigned_accepted: bool = True
    pulled_by: frozenset[Uid] = frozenset()

    @property
    def volumes(self) -> tuple[str, ...]:
        """The names of its volumes, base first."""
        return tuple(dict.fromkeys((*(layer.volume for layer in self.layers), self.volume)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerVersion:
    """A former version of a name.

    Attributes:
        source: The reference that it was pulled by.
        digest: The digest of its manifest.
        config: The config's JSON text; None if the record was too large for it.
        volume: The name of its top volume.
        volumes: The names of all its volumes, base first.
        pulled_at: The time of the pull in microseconds since 1970.
        replaced_at: The time of its replacement in microseconds since 1970.
        kept: Whether its volumes are needed, even if no machine uses them.
        pulled_by: The UIDs of the users that pulled this manifest from this source into the pool.
    """

    source: Text
    digest: Digest
    config: Config | None
    volume: LayerName
    volumes: tuple[LayerName, ...]
    pulled_at: Microseconds
    replaced_at: Microseconds
    kept: bool
    pulled_by: frozenset[Uid] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord(PulledImage):
    """An image of a pool.

    Attributes:
        kind: The kind of the record: an image.
        owners: The owners of its config.
        former: The former versions of the name, the newest first.
    """

    kind: RecordKind = RecordKind.IMAGE
    owners: frozenset[Owner] = frozenset()
    former: tuple[FormerVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer as it was built into a volume.

    Attributes:
        diff_id: The digest of its uncompressed archive.
        blob: The digest of the blob that was read.
        bytes: The size of that blob.
        owners: The owners of the blob.
    """

    diff_id: Digest
    blob: Digest
    bytes: Bytes
    owners: frozenset[Owner] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """A layer volume that virtlayer created.

    Attributes:
        kind: The kind of the record: a layer.
        name: The name of the volume.
        below: The ID of its backing volume; "" if it is not known.
        layers: The layers applied in it, base first; empty if they are not known.
        identity: Whether machines that are made from it would share a machine ID or ssh host keys;
            None if that is not known.
    """

    kind: RecordKind = RecordKind.LAYER
    name: LayerName
    below: VolumeId = ""
    layers: tuple[BuiltLayer, ...] = ()
    identity: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine or container that a volume, or a directory, belongs to.

    Attributes:
        domain: The UUID of its domain.
        host: The host that has the domain.
        boot_volumes: The names of the volumes that it boots with: its kernel and initrd.
        expendable: Whether its volume is deleted when the domain no longer exists: the machine is
            ephemeral, or its domain has not been defined yet.
    """

    domain: Uuid
    host: HostId
    boot_volumes: tuple[VolumeName, ...] = ()
    expendable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """A writable volume that was created from an image.

    Attributes:
        kind: The kind of the record: a volume, a directory or a disk.
        name: The name of the volume.
        image: The name of the image.
        source: The reference that the image was pulled by.
        digest: The digest of the image's manifest.
        config: The image's config, JSON; "{}" if it has none.
        top: The name of the backing layer of a writable volume; None if there is no chain.
        disk: The name of the backing disk of a machine's volume; None for a layer or nothing.
        id_base: The ID that ID 0 of the image was mapped to in a directory for a container; None
            without ID mapping.
        pulled_by: The UIDs of the users that pulled the image.
        machine: The machine that it belongs to; None if it belongs to none.
    """

    kind: RecordKind
    name: VolumeName
    image: ImageName
    source: Text
    digest: Digest
    config: ConfigOfVolume
    top: LayerName | None = None
    disk: VolumeName | None = None
    id_base: Uid | None = None
    pulled_by: frozenset[Uid] = frozenset()
    machine: Machine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootKernel:
    """A kernel, and the boot volumes that were made of it.

    Attributes:
        version: Its version.
        has_initrd: Whether its image has an initrd for it.
        has_modules: Whether its modules are there, without which it cannot have our initrd.
        kernel: The volume of the kernel; None if it was not made yet.
        image_initrd: The volume of its image's initrd; None if it was not made yet.
        own_initrd: The volume of our initrd for it; None if it was not made yet.
        tools: What our initrd was composed of, in addition to modules.
    """

    version: KernelVersion
    has_initrd: bool = False
    has_modules: bool = True
    kernel: BootVolume | None = None
    image_initrd: BootVolume | None = None
    own_initrd: BootVolume | None = None
    tools: Tools = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRecord:
    """What an image has to boot with, or a kernel of a host, and the boot volumes made of it.

    Attributes:
        kind: The kind of the record.
        name: The top layer of the image, or a name for the kernel of the host.
        has_init: Whether the image has /sbin/init.
        os_id: The libosinfo id of its operating system.
        kernels: Its kernels, by version.
    """

    kind: RecordKind = RecordKind.BOOT
    name: BootSource
    has_init: bool = False
    os_id: OsId = ""
    kernels: tuple[BootKernel, ...] = ()

    @property
    def boot_volumes(self) -> frozenset[str]:
        """The names of the boot volumes that were made of it; other records can name them, too."""
        return frozenset(
            volume
            for one in self.kernels
            for volume in (one.kernel, one.image_initrd, one.own_initrd)
            if volume is not None
        )

    def kernel(self, version: str) -> BootKernel | None:
        """Return the kernel of a version; None if there is none."""
        return next((one for one in self.kernels if one.version == version), None)


type Record = ImageRecord | LayerRecord | VolumeRecord | BootRecord
