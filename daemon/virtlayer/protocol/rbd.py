# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages from the keeper to the process of an RBD pool, with their requests and replies.

They are encoded as those from the service to the keeper (``packets``, ``codec``). One connection
and one process are for one pool of one cluster, which ``OPEN`` names. Claims, locks, staging places
and servers have numbers, which are valid on their connection only. The process checks every
request: it opens, changes and deletes only images that virtlayer has made.

An unfinished image has a name of its own in the pool, which only this process knows. Requests name
it by its staging place and a short name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from virtlayer.protocol.calls import Call, Nothing, Purpose
from virtlayer.protocol.checks import (
    BuildKey,
    DomainText,
    Number,
    PortNumber,
    RecordFile,
    VolumeName,
    VolumeSize,
)
from virtlayer.protocol.programs import Ended
from virtlayer.protocol.records import RecordContents, RecordList, RecordPut, Stamp


class RbdMessage(StrEnum):
    """The messages; each is checked in ``rbd`` as if the keeper's service were compromised."""

    OPEN = "open"  # connect to the cluster; the key comes as a sealed memory file
    PING = "ping"  # whether the process answers
    FIND_IMAGES = "find-images"  # describe images: all, or some by their names
    SPACE = "space"  # how much can still be written
    USERS = "users"  # children, foreign snapshots and watchers of images
    DELETE = "delete"  # delete an image of ours that has no user, and its record; needs the lock
    SWEEP = "sweep"  # remove what jobs left that no longer run, on any host

    CLAIM = "claim"  # volumes that a job counts on, and layers that it builds; its descriptor
    END_BUILD = "end-build"  # give up the right to build a layer
    LOCK = "lock"  # the lock of the pool, and what is claimed there
    RELEASE = "release"  # end a claim, a lock or a staging place
    LIST_RECORDS = "list-records"  # which records the pool has, if any changed
    READ_RECORDS = "read-records"  # their contents, as one memory file
    PUT_RECORD = "put-record"  # write or delete a record, unless another process changed it

    STAGE = "stage"  # a place of a claim for unfinished images
    CREATE_IMAGE = "create-image"  # an empty image, or a clone of a layer, in a staging place
    STORE_FILE = "store-file"  # an image in a staging place with the bytes of a sealed memory file
    SERVE_IMAGE = "serve-image"  # serve an image over NBD on a passed listening socket; its pidfd
    WAIT_SERVER = "wait-server"  # how a server ended
    END_SERVER = "end-server"  # ask a server to end, or kill it
    FLUSH_IMAGE = "flush-image"  # a finished image: nobody writes to it; a layer gets its snapshot
    PLACE_IMAGE = "place-image"  # give a flushed image its name, and write its record before
    WITHDRAW = "withdraw"  # remove an image that this connection has placed
    READ_FILE = "read-file"  # the bytes of a kernel or initrd, into a passed file


@dataclass(frozen=True, slots=True)
class Monitor:
    """The address of a monitor; ``port`` is None for the usual ones."""

    host: DomainText
    port: PortNumber | None


@dataclass(frozen=True, slots=True)
class Open:
    """The pool that the process is for. The key of the user comes as a sealed memory file.

    Attributes:
        pool: The name of the pool in the cluster.
        user: The cephx user without ``client.``; None if the cluster uses no cephx, and no key
            comes.
        monitors: The monitors; empty for those of the host's ceph.conf.
    """

    pool: DomainText
    user: DomainText | None
    monitors: tuple[Monitor, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """The cluster that the pool is in.

    Attributes:
        cluster: Its fsid.
        pool_id: The number of the pool in it.
    """

    cluster: DomainText
    pool_id: Number


@dataclass(frozen=True, slots=True)
class FindImages:
    """Images to be described.

    Attributes:
        names: Their names; None for all, except unfinished ones.
        measure: Whether their allocation is needed, which takes 10 ms for each image.
    """

    names: tuple[VolumeName, ...] | None
    measure: bool = False


@dataclass(frozen=True, slots=True)
class RbdImage:
    """An image of the pool.

    Attributes:
        name: Its name.
        id: Its id in the pool, which stays when it is renamed.
        size: Its virtual size in bytes.
        parent: The name of the image that it is a clone of; "" if of none, or if that image is in
            another pool.
        made: Whether virtlayer has made it.
        allocation: The space that it uses itself, in bytes, by its object map; 0 if it was not
            measured, or has none.
    """

    name: str
    id: str
    size: Number
    parent: str
    made: bool
    allocation: Number = 0


@dataclass(frozen=True, slots=True)
class RbdImages:
    """Images that were found; those that do not exist are left out."""

    images: tuple[RbdImage, ...]


@dataclass(frozen=True, slots=True)
class RbdSpace:
    """The space of the cluster; both are 0 if the cluster does not tell (it has no manager).

    Attributes:
        capacity: In bytes.
        available: In bytes.
    """

    capacity: Number
    available: Number


@dataclass(frozen=True, slots=True)
class ImageNames:
    """Images by their names."""

    names: tuple[VolumeName, ...]


@dataclass(frozen=True, slots=True)
class ImageUsers:
    """The users of images, in words, such as 'the image "backup/web"', for each one that has any.

    Children in the same pool that are layers of ours are left out. If the children, snapshots or
    watchers of an image cannot be listed, that is a user as well.
    """

    users: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """An image of ours to be deleted, with its record.

    Attributes:
        lock: The number of the pool's lock.
        name: Its name.
        record: The file of its record.
    """

    lock: Number
    name: VolumeName
    record: RecordFile


@dataclass(frozen=True, slots=True)
class Count:
    """A number of jobs."""

    number: Number


@dataclass(frozen=True, slots=True)
class Claim:
    """Volumes that a job needs, and layers that it is going to build; as ``claims.ClaimVolumes``.

    Attributes:
        claim: The number of the claim that they are added to; None for a new one.
        names: The volumes, which may not exist yet.
        build: The keys of the layers.
    """

    claim: Number | None
    names: tuple[VolumeName, ...]
    build: tuple[BuildKey, ...]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim. With the answer about a new one comes a descriptor.

    The claim lives as long as any copy of that descriptor is open, until it is released, or until
    the process ends. When the connection ends, the process lives on as long as claims do.

    Attributes:
        claim: Its number.
        name: A name that no other claim on any host has.
        busy: The keys of those layers that another claim builds.
    """

    claim: Number
    name: str
    busy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndBuild:
    """A layer that a claim no longer builds."""

    claim: Number
    key: BuildKey


@dataclass(frozen=True, slots=True)
class Locked:
    """The lock of the pool.

    Attributes:
        lock: Its number.
        claimed: For each claim of any host, by its name, the volumes that its job needs.
    """

    lock: Number
    claimed: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Release:
    """A claim with its staging places, a lock, or a staging place to be released."""

    number: Number


@dataclass(frozen=True, slots=True)
class ListRecords:
    """The records of the pool; as ``records.ListRecords``."""

    since: Stamp | None


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """Records to be read."""

    files: tuple[RecordFile, ...]


@dataclass(frozen=True, slots=True)
class PutRecord:
    """A record to be written or deleted; its content comes as a sealed memory file.

    Attributes:
        file: The name of its file.
        expected: The stamp of the record that there must be; None if there must be none.
        holder: The number of a claim or of the lock.
    """

    file: RecordFile
    expected: Stamp | None
    holder: Number


@dataclass(frozen=True, slots=True)
class Stage:
    """A place for unfinished images; it is removed with its claim.

    Attributes:
        claim: The number of the claim.
        purpose: LAYERS, VOLUME or BOOT.
    """

    claim: Number
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Staged:
    """A new staging place."""

    staging: Number


@dataclass(frozen=True, slots=True)
class CreateImage:
    """An image to be made in a staging place.

    Attributes:
        staging: The staging place.
        file: Its short name there.
        size: Its virtual size in bytes, at least that of ``parent``.
        parent: What it is a clone of: a layer in the pool, or the short name of a flushed image of
            the same staging place; None for an empty image.
    """

    staging: Number
    file: VolumeName
    size: VolumeSize
    parent: VolumeName | None


@dataclass(frozen=True, slots=True)
class StoreFile:
    """A kernel or initrd to be stored; its content comes as a sealed memory file."""

    staging: Number
    file: VolumeName


@dataclass(frozen=True, slots=True)
class ServeImage:
    """An image to be served over NBD by a qemu-storage-daemon, as the export "".

    The listening socket comes with the request, the server's pidfd with the reply.

    Attributes:
        staging: The staging place. The server ends with it.
        image: The short name of an unfinished image there, or, to be read only, the name of a layer
            of the pool.
        writable: Whether clients may write to it.
    """

    staging: Number
    image: VolumeName
    writable: bool


@dataclass(frozen=True, slots=True)
class Serving:
    """A server."""

    server: Number


@dataclass(frozen=True, slots=True)
class EndServer:
    """A server to be ended.

    Attributes:
        server: Its number.
        kill: Whether to kill it and forget it; else it is asked to end, after a flush.
    """

    server: Number
    kill: bool


@dataclass(frozen=True, slots=True)
class StagedImage:
    """A finished image of a staging place, by its short name."""

    staging: Number
    file: VolumeName


@dataclass(frozen=True, slots=True)
class PlaceImage:
    """A flushed image to get its name. Its record may come as a sealed memory file.

    Attributes:
        staging: The staging place.
        file: Its short name there.
        name: Its name in the pool.
        record: The file of the record that comes; None if none comes.
    """

    staging: Number
    file: VolumeName
    name: VolumeName
    record: RecordFile | None


@dataclass(frozen=True, slots=True)
class Placed:
    """An image that has its name.

    Attributes:
        image: The image with that name.
        ours: False if there was one of that name before.
        record: The stamp of its record; None if none was written.
    """

    image: RbdImage
    ours: bool
    record: Stamp | None


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image by its name in the pool."""

    name: VolumeName


OPEN = Call(RbdMessage.OPEN, Open, Opened)
PING = Call(RbdMessage.PING, Nothing, Nothing)
FIND_IMAGES = Call(RbdMessage.FIND_IMAGES, FindImages, RbdImages)
SPACE = Call(RbdMessage.SPACE, Nothing, RbdSpace)
USERS = Call(RbdMessage.USERS, ImageNames, ImageUsers)
DELETE = Call(RbdMessage.DELETE, DeleteImage, Nothing)
SWEEP = Call(RbdMessage.SWEEP, Nothing, Count)
CLAIM = Call(RbdMessage.CLAIM, Claim, Claimed)
END_BUILD = Call(RbdMessage.END_BUILD, EndBuild, Nothing)
LOCK = Call(RbdMessage.LOCK, Nothing, Locked)
RELEASE = Call(RbdMessage.RELEASE, Release, Nothing)
LIST_RECORDS = Call(RbdMessage.LIST_RECORDS, ListRecords, RecordList)
READ_RECORDS = Call(RbdMessage.READ_RECORDS, ReadRecords, RecordContents)
PUT_RECORD = Call(RbdMessage.PUT_RECORD, PutRecord, RecordPut)
STAGE = Call(RbdMessage.STAGE, Stage, Staged)
CREATE_IMAGE = Call(RbdMessage.CREATE_IMAGE, CreateImage, Nothing)
STORE_FILE = Call(RbdMessage.STORE_FILE, StoreFile, Nothing)
SERVE_IMAGE = Call(RbdMessage.SERVE_IMAGE, ServeImage, Serving)
WAIT_SERVER = Call(RbdMessage.WAIT_SERVER, Serving, Ended)
END_SERVER = Call(RbdMessage.END_SERVER, EndServer, Ended)
FLUSH_IMAGE = Call(RbdMessage.FLUSH_IMAGE, StagedImage, Nothing)
PLACE_IMAGE = Call(RbdMessage.PLACE_IMAGE, PlaceImage, Placed)
WITHDRAW = Call(RbdMessage.WITHDRAW, ImageName, Nothing)
READ_FILE = Call(RbdMessage.READ_FILE, ImageName, Nothing)
