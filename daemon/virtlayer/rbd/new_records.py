# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records that are written together with the image that they describe."""

import contextlib
from collections.abc import Iterator

from virtlayer.errors import PoolUnavailable, VirtlayerError
from virtlayer.protocol.records import Stamp
from virtlayer.rbd import keys
from virtlayer.rbd.claims import Claim
from virtlayer.rbd.records import changes_of, encoded_stamp, keys_of, new_stamp


class NewRecord:
    """A record that was written for a volume, which gets its name next.

    Attributes:
        stamp: The stamp of the record; None if it was not written.
        is_wanted: Whether it stays.
    """

    def __init__(self, stamp: Stamp | None) -> None:
        self.stamp = stamp
        self.is_wanted = True


@contextlib.contextmanager
def layer_record(claim: Claim, file: str, content: bytes) -> Iterator[NewRecord]:
    """Have the record of a layer written before the layer gets its name, unless there is one.

    Layers of one name have one content, and two hosts may place one at a time. An error in the
    context removes the record, except if it is unknown whether the layer was placed.

    Args:
        claim: The claim of the job.
        file: The name of the record's file.
        content: The content.

    Raises:
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    stamp = new_stamp(len(content))
    key, _ = keys_of(file)
    # A layer can be placed while the pool is locked: the job has claimed it.
    is_written = claim.change({key: None}, changes_of(file, stamp, content), free=())
    new = NewRecord(stamp if is_written else None)
    try:
        yield new
    except PoolUnavailable:
        raise
    except BaseException:
        new.is_wanted = False
        raise
    finally:
        if is_written and not new.is_wanted:
            with contextlib.suppress(VirtlayerError):
                claim.change({key: encoded_stamp(stamp)}, changes_of(file, None, None), free=())


@contextlib.contextmanager
def volume_record(claim: Claim, file: str, content: bytes) -> Iterator[NewRecord]:
    """Have the record of a volume written before the volume gets its name; as ``layer_record``.

    It replaces the record of a former volume of that name. No other process places a volume of that
    name meanwhile.

    Raises:
        PoolLocked: Another process has the pool's lock, or places a volume of that name, for longer
            than one request waits.
        VirtlayerError: The cluster does not answer, or refuses it.
    """
    stamp = new_stamp(len(content))
    key, _ = keys_of(file)
    placing = keys.PLACINGS + file
    new_values = {**changes_of(file, stamp, content), placing: claim.owner}
    claim.change({}, new_values, free=(keys.LOCK, placing))
    new = NewRecord(stamp)
    try:
        yield new
    except PoolUnavailable:
        raise
    except BaseException:
        new.is_wanted = False
        raise
    finally:
        with contextlib.suppress(VirtlayerError):
            done = not new.is_wanted and claim.change(
                {key: encoded_stamp(stamp), placing: claim.owner},
                {**changes_of(file, None, None), placing: None},
                free=(),
            )
            if not done:
                claim.change({placing: claim.owner}, {placing: None}, free=())
