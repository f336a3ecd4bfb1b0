# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fields of an inode: what is put in comes out."""

from hypothesis import given
from hypothesis import strategies as st

from virtlayer.worker.ext4.inode import InodeFields, decode_time, encode_inode, encode_time
from virtlayer.worker.tree import Metadata

_EARLIEST = -(2**31) * 10**9
_LATEST = (2**34 - 2**31 - 1) * 10**9
_IDS = st.integers(0, 2**32 - 2)


@given(st.integers(_EARLIEST, _LATEST))
def test_a_time_that_ext4_can_say_comes_back(nanoseconds: int) -> None:
    assert decode_time(*encode_time(nanoseconds)) == nanoseconds


@given(st.integers(0, 0o7777), _IDS, _IDS, st.integers(0, 2**40), _IDS, _IDS)
def test_an_owner_is_replaced_and_nothing_else(
    mode: int, uid: int, gid: int, size: int, new_uid: int, new_gid: int
) -> None:
    raw = encode_inode(Metadata(mode, uid, gid, 1_234_567_890_123_456_789), 0o100000, size=size)
    inode = InodeFields(bytearray(raw))
    assert (inode.uid, inode.gid, inode.mtime) == (uid, gid, 1_234_567_890_123_456_789)
    inode.set_owner(new_uid, new_gid)
    assert (inode.uid, inode.gid, inode.size) == (new_uid, new_gid, size)
    assert inode.mode == 0o100000 | mode
    inode.set_owner(uid, gid)
    assert bytes(inode.raw) == raw


def test_sectors_go_beyond_32_bits() -> None:
    inode = InodeFields(bytearray(encode_inode(Metadata(0, 0, 0, 0), 0o100000)))
    inode.sectors = 2**40 + 8
    assert inode.sectors == 2**40 + 8
    assert not inode.has_attributes
