# SPDX-License-Identifier: LGPL-2.1-or-later
"""An empty ext4, made by libext2fs in the order in which mke2fs(8) makes one.

The features are the ones that Linux has had since 3.18. Nothing depends on this host, its clock or
chance: the same layers give the same bytes everywhere. What is not written reads as zeroes,
because the volume is new. A change of anything here that alters a byte raises
``version.FORMAT_VERSION``.
"""

from __future__ import annotations

import hashlib
from typing import Any

from virtlayer.worker.ext4.blocks import BLOCK_SIZE
from virtlayer.worker.ext4.inode import EXTRA_SIZE, INODE_SIZE
from virtlayer.worker.ext4.library import check, ffi, lib

FIXED_TIME = 1_577_836_800
"""Every time that no layer gives (2020-01-01, in seconds since 1970)."""

_BYTES_PER_INODE = 16384
RESERVED_PERCENT = 1
"""Blocks that only root gets: enough to log in and clean up, not the 5 % of a 1990s disk."""

_COMPAT = 0x0004 | 0x0008 | 0x0010 | 0x0020  # has_journal ext_attr resize_inode dir_index
_INCOMPAT = 0x0002 | 0x0040 | 0x0080 | 0x0200  # filetype extents 64bit flex_bg
# sparse_super large_file huge_file dir_nlink extra_isize metadata_csum
_RO_COMPAT = 0x0001 | 0x0002 | 0x0008 | 0x0020 | 0x0040 | 0x0400

_BAD_BLOCKS_INODE = 1
_ROOT_INODE = 2
_FIRST_INODE = 11
_CRC32C = 1
_HALF_MD4 = 1


def format_filesystem(device: bytes, size: int, identity: str) -> Any:
    """Make an ext4 with a root directory and nothing in it: no lost+found, which e2fsck creates
    when it needs one, because the image's own tree is all that should be seen.

    Args:
        device: The name of the device, as the io_manager takes it.
        size: Of the file system in bytes.
        identity: Decides the UUID and the hash seed.

    Returns:
        The open ext2_filsys.

    Raises:
        Ext4Error: libext2fs refuses, or the device fails.
    """  # noqa: D205 -- the summary needs its reason
    result = ffi.new("ext2_filsys *")
    flags = lib.EXT2_FLAG_64BITS | lib.EXT2_FLAG_EXCLUSIVE
    check(lib.ext2fs_initialize(device, flags, _geometry(size), lib.vl_nbd_manager, result))
    filesystem = result[0]
    try:
        check(lib.vl_nbd_assume_zeroes(filesystem.io))
        _set_identity(filesystem, identity)
        check(lib.ext2fs_allocate_tables(filesystem))
        _claim_zeroed_inode_tables(filesystem)
        _create_reserved_inodes(filesystem)
        check(lib.ext2fs_create_resize_inode(filesystem))
        _create_journal(filesystem)
    except BaseException:
        lib.ext2fs_free(filesystem)
        raise
    return filesystem


def _geometry(size: int) -> Any:
    parameters = ffi.new("struct ext2_super_block *")
    blocks = size // BLOCK_SIZE
    parameters.s_rev_level = 1
    parameters.s_log_block_size = BLOCK_SIZE.bit_length() - 11
    parameters.s_inode_size = INODE_SIZE
    parameters.s_inodes_count = size // _BYTES_PER_INODE
    parameters.s_min_extra_isize = parameters.s_want_extra_isize = EXTRA_SIZE
    parameters.s_desc_size = 64
    parameters.s_log_groups_per_flex = 4
    parameters.s_feature_compat = _COMPAT
    parameters.s_feature_incompat = _INCOMPAT
    parameters.s_feature_ro_compat = _RO_COMPAT
    # After the features: without 64bit among them, libext2fs drops the upper half of a count.
    lib.ext2fs_blocks_count_set(parameters, blocks)
    lib.ext2fs_r_blocks_count_set(parameters, blocks * RESERVED_PERCENT // 100)
    return parameters


def _set_identity(filesystem: Any, identity: str) -> None:
    digest = hashlib.sha256(f"virtlayer ext4 {identity}".encode()).digest()
    uuid = bytearray(digest[:16])
    uuid[6] = uuid[6] & 0x0F | 0x80  # RFC 9562, section 5.8: a UUID of a scheme of our own
    uuid[8] = uuid[8] & 0x3F | 0x80
    superblock = filesystem.super
    ffi.buffer(superblock.s_uuid)[:] = bytes(uuid)
    ffi.buffer(superblock.s_hash_seed)[:] = digest[16:32]
    superblock.s_checksum_type = _CRC32C
    superblock.s_def_hash_version = _HALF_MD4
    # Names hash alike on hosts whose char is signed and on those where it is not.
    superblock.s_flags = lib.EXT2_FLAGS_UNSIGNED_HASH
    superblock.s_mkfs_time = superblock.s_lastcheck = superblock.s_wtime = FIXED_TIME
    superblock.s_checkinterval = 0
    # Mounting with the options that mke2fs.conf gives everybody: user_xattr, acl.
    superblock.s_default_mount_opts = 0x0004 | 0x0008
    filesystem.now = FIXED_TIME
    lib.ext2fs_init_csum_seed(filesystem)


def _claim_zeroed_inode_tables(filesystem: Any) -> None:
    """Say what is true of a new volume, or the kernel zeroes the tables after the first mount."""
    for group in range(filesystem.group_desc_count):
        lib.ext2fs_bg_flags_set(filesystem, group, lib.EXT2_BG_INODE_ZEROED)
        lib.ext2fs_group_desc_csum_set(filesystem, group)


def _create_reserved_inodes(filesystem: Any) -> None:
    check(lib.ext2fs_mkdir(filesystem, _ROOT_INODE, _ROOT_INODE, ffi.NULL))
    for number in (_BAD_BLOCKS_INODE, *range(_ROOT_INODE + 1, _FIRST_INODE)):
        lib.ext2fs_inode_alloc_stats2(filesystem, number, 1, 0)
    lib.ext2fs_mark_ib_dirty(filesystem)
    check(lib.ext2fs_update_bb_inode(filesystem, ffi.NULL))


def _create_journal(filesystem: Any) -> None:
    blocks = lib.ext2fs_default_journal_size(lib.ext2fs_blocks_count(filesystem.super))
    flags = lib.EXT2_MKJOURNAL_LAZYINIT | lib.EXT2_MKJOURNAL_NO_MNT_CHECK
    check(lib.ext2fs_add_journal_inode2(filesystem, blocks, 0, flags))
