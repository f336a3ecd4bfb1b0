# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests and replies of each message of ``messages``.

A pool is named by its UUID: the keeper takes its directory from libvirt only.
Claims, locks, staging directories and programs have numbers, which are valid on their connection
only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from virtlayer.protocol.checks import (
    BuildKey,
    LayerName,
    Name,
    Number,
    PoolName,
    Uuid,
    VolumeName,
    VolumeSize,
)
from virtlayer.protocol.claims import Claimed, ClaimVolumes, Locked, Release
from virtlayer.protocol.domains import (
    ControlDomain,
    Controlled,
    DefineDomain,
    DomainDefined,
    Domains,
    ListDomains,
    OpenPort,
    PortOpened,
)
from virtlayer.protocol.messages import Message
from virtlayer.protocol.pools import Pool, PoolState, Usage, Volume
from virtlayer.protocol.programs import Ended, StartProgram
from virtlayer.protocol.records import (
    ListRecords,
    PutRecord,
    ReadRecords,
    RecordContents,
    RecordList,
    RecordPut,
    Stamp,
)


@dataclass(frozen=True, slots=True)
class Call[Q, R]:
    """A message with the types of its request and of its reply."""

    message: StrEnum
    request: type[Q]
    reply: type[R]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A request or reply without content."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The rights of the keeper.

    Attributes:
        root: Whether it may give files to other users.
    """

    root: bool


@dataclass(frozen=True, slots=True)
class PoolStates:
    """All pools that libvirt has."""

    pools: tuple[PoolState, ...]


@dataclass(frozen=True, slots=True)
class NamedPool:
    """A pool by its name."""

    name: PoolName


@dataclass(frozen=True, slots=True)
class KnownPool:
    """A pool by its UUID."""

    pool: Uuid


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """Files of a pool's directory, by their names."""

    pool: Uuid
    names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class FindVolumes:
    """Volumes of a pool.

    Attributes:
        pool: The pool.
        names: Their names; None for all volumes.
        refresh: Whether to refresh the pool before: for all volumes always, for names only if
            libvirt's list and the directory disagree about one of them.
    """

    pool: Uuid
    names: tuple[Name, ...] | None
    refresh: bool


@dataclass(frozen=True, slots=True)
class Volumes:
    """Volumes that were found."""

    volumes: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What identifies a file and its present content.

    Attributes:
        inode: Of the file.
        changed: When it changed last (ctime), in nanoseconds.
    """

    inode: int
    changed: int


@dataclass(frozen=True, slots=True)
class Files:
    """Files that were found in a pool's directory, by their names."""

    files: Mapping[str, FileStamp]


@dataclass(frozen=True, slots=True)
class Bytes:
    """A number of bytes; None if it is unknown: a Ceph cluster without a manager does not tell."""

    bytes: int | None


@dataclass(frozen=True, slots=True)
class Layers:
    """Layer volumes of a pool, by their names."""

    pool: Uuid
    names: tuple[LayerName, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Volumes of a pool that virtlayer has made, to be deleted in this order.

    Attributes:
        pool: The pool.
        lock: The number of its lock.
        names: The volumes.
    """

    pool: Uuid
    lock: Number
    names: tuple[VolumeName, ...]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted.

    Attributes:
        names: The volumes.
        error: The name of the error for the next one; "" if all were deleted.
        text: The message of the error.
    """

    names: tuple[str, ...]
    error: str
    text: str


@dataclass(frozen=True, slots=True)
class Swept:
    """The number of ended jobs whose files were removed."""

    number: int


class Purpose(StrEnum):
    """What is made in a staging directory."""

    LAYERS = "layers"  # by qemu-storage-daemon; the names of the volumes are those of layers
    VOLUME = "volume"  # by one of QEMU's programs
    DISK = "disk"  # by a worker that writes to an open file
    BOOT = "boot"  # the same: a kernel or an initrd; the names are those of boot volumes
    DIRECTORY = "directory"  # by a worker that is shut into it
    CONTAINED_DIRECTORY = "contained-directory"  # the same; nothing in it runs as root


@dataclass(frozen=True, slots=True)
class Stage:
    """A staging directory to be made in a pool, for a job.

    Attributes:
        pool: The pool.
        claim: The number of the job's claim there. The directory is removed with the claim.
        purpose: What is made there.
    """

    pool: Uuid
    claim: Number
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Staged:
    """A new staging directory.

    Attributes:
        staging: Its number.
        direct: Whether files in it can be written past the page cache.
    """

    staging: Number
    direct: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """What a job that makes a volume begins with: ``NamedPool``, ``ClaimVolumes`` and ``Stage``.

    Attributes:
        pool_name: The name of the pool.
        names: The volumes of a new claim.
        purpose: What is made in the staging directory.
    """

    pool_name: PoolName
    names: tuple[VolumeName, ...]
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Begun:
    """The pool, the number of the claim, whose lock's descriptor comes with it, and the directory.

    Attributes:
        pool: The pool.
        claim: The number of the claim.
        staged: The staging directory.
    """

    pool: Pool
    claim: Number
    staged: Staged


@dataclass(frozen=True, slots=True)
class CreateOverlay:
    """An empty overlay to be made in a staging directory.

    In a directory, it is a qcow2 file with the name ``STAGED_OVERLAY``, which is flushed then.
    In an RBD pool, it is an image that can be served by an ``IMAGE_SERVER``, and must be flushed.

    Attributes:
        staging: The staging directory.
        file: Its name there.
        size: Its virtual size in bytes.
        backing: The name of the layer, or of the disk, that it is an overlay of. In an RBD pool, of
            the layer, or of a flushed image of the same staging place, that it is a clone of; None
            for an empty image.
    """

    staging: Number
    file: VolumeName
    size: VolumeSize
    backing: VolumeName | None


@dataclass(frozen=True, slots=True)
class Link:
    """Layers that QEMU's programs in a staging directory shall find there.

    Attributes:
        staging: The staging directory.
        names: The layers of a chain, base first. Those that the pool does not have are left out,
            but for the last one.
    """

    staging: Number
    names: tuple[LayerName, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """The name of the last one for the programs."""

    name: str


@dataclass(frozen=True, slots=True)
class Flush:
    """A finished file or directory of a staging directory, by its name there."""

    staging: Number
    file: VolumeName


@dataclass(frozen=True, slots=True)
class Place:
    """A flushed file, and the name that it gets. Its record may come as a sealed memory file.

    Attributes:
        staging: The staging directory.
        file: The file's name there.
        name: The name of the volume.
        build: The key of the layer whose right to build ends with this; None if there is none.
    """

    staging: Number
    file: VolumeName
    name: VolumeName
    build: BuildKey | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A volume's file in the pool's directory.

    Attributes:
        name: Its name.
        ours: False if there was one of that name before.
        inode: The number of the new file or directory, as in ``FileStamp``; of no use if it is not
            ``ours``.
        record: The stamp of its record; None if none came with it, or if one was there before.
    """

    name: VolumeName
    ours: bool
    inode: int
    record: Stamp | None


@dataclass(frozen=True, slots=True)
class ExpectedVolume:
    """A placed volume, and how libvirt is expected to describe it.

    Attributes:
        name: Its name.
        backing: The name of the layer, or of the disk, that it is an overlay of; None if of none.
        formats: The formats that libvirt may detect.
    """

    name: VolumeName
    backing: VolumeName | None
    formats: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Register:
    """Placed volumes that libvirt shall find, each before those that are based on it."""

    pool: Uuid
    volumes: tuple[ExpectedVolume, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A volume that was placed, to be removed again."""

    pool: Uuid
    name: VolumeName


@dataclass(frozen=True, slots=True)
class Started:
    """A program that was started; its pidfd comes with it."""

    program: Number
    name: str


@dataclass(frozen=True, slots=True)
class KnownProgram:
    """A program by its number."""

    program: Number


@dataclass(frozen=True, slots=True)
class EndProgram:
    """A program that shall end.

    Attributes:
        program: Its number.
        kill: Whether to kill it, wait for that, and forget it; else it is only asked to end.
    """

    program: Number
    kill: bool


HELLO = Call(Message.HELLO, Nothing, Hello)
LIST_POOLS = Call(Message.LIST_POOLS, Nothing, PoolStates)
FIND_POOL = Call(Message.FIND_POOL, NamedPool, Pool)
FIND_VOLUMES = Call(Message.FIND_VOLUMES, FindVolumes, Volumes)
FIND_FILES = Call(Message.FIND_FILES, NamedFiles, Files)
SPACE = Call(Message.SPACE, KnownPool, Bytes)
USERS = Call(Message.USERS, Layers, Usage)
DELETE = Call(Message.DELETE, Delete, Deleted)
SWEEP = Call(Message.SWEEP, KnownPool, Swept)
CLAIM = Call(Message.CLAIM, ClaimVolumes, Claimed)
BEGIN = Call(Message.BEGIN, Begin, Begun)
LOCK = Call(Message.LOCK, KnownPool, Locked)
RELEASE = Call(Message.RELEASE, Release, Nothing)
LIST_RECORDS = Call(Message.LIST_RECORDS, ListRecords, RecordList)
READ_RECORDS = Call(Message.READ_RECORDS, ReadRecords, RecordContents)
PUT_RECORD = Call(Message.PUT_RECORD, PutRecord, RecordPut)
STAGE = Call(Message.STAGE, Stage, Staged)
CREATE_OVERLAY = Call(Message.CREATE_OVERLAY, CreateOverlay, Ended)
LINK = Call(Message.LINK, Link, Linked)
FLUSH = Call(Message.FLUSH, Flush, Nothing)
PLACE = Call(Message.PLACE, Place, Placed)
REGISTER = Call(Message.REGISTER, Register, Volumes)
WITHDRAW = Call(Message.WITHDRAW, Withdraw, Nothing)
START_PROGRAM = Call(Message.START_PROGRAM, StartProgram, Started)
WAIT_PROGRAM = Call(Message.WAIT_PROGRAM, KnownProgram, Ended)
END_PROGRAM = Call(Message.END_PROGRAM, EndProgram, Ended)
DEFINE_DOMAIN = Call(Message.DEFINE_DOMAIN, DefineDomain, DomainDefined)
LIST_DOMAINS = Call(Message.LIST_DOMAINS, ListDomains, Domains)
CONTROL_DOMAIN = Call(Message.CONTROL_DOMAIN, ControlDomain, Controlled)
OPEN_PORT = Call(Message.OPEN_PORT, OpenPort, PortOpened)
