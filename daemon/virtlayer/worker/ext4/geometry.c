/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The geometry that all our file systems have, written once and checked whenever one is opened.
 *
 * The code relies on it: buffers have the size of a block, inodes that of ours, and what a feature
 * of another file system would keep elsewhere is not looked for. libext2fs has checked before that
 * the superblock does not contradict itself.
 */
#include "state.h"

#define LOG_BLOCK_SIZE 2        /* 1024 << 2 */
#define BYTES_PER_INODE 16384
#define DESCRIPTOR_SIZE 64
#define LOG_GROUPS_PER_FLEX 4

/* The features are the ones that Linux has had since 3.18. */
#define COMPATIBLE (EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR | \
                    EXT2_FEATURE_COMPAT_RESIZE_INODE | EXT2_FEATURE_COMPAT_DIR_INDEX)
#define INCOMPATIBLE (EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | \
                      EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG)
#define READ_ONLY_COMPATIBLE (EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | \
                              EXT2_FEATURE_RO_COMPAT_LARGE_FILE | \
                              EXT4_FEATURE_RO_COMPAT_HUGE_FILE | \
                              EXT4_FEATURE_RO_COMPAT_DIR_NLINK | \
                              EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | \
                              EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)

errcode_t vl_set_geometry(struct ext2_super_block *super, uint64_t size)
{
    blk64_t blocks = size / VL_BLOCK_SIZE;

    if (size / BYTES_PER_INODE > UINT32_MAX)
        return EXT2_ET_TOO_MANY_INODES;
    super->s_rev_level = EXT2_DYNAMIC_REV;
    super->s_log_block_size = LOG_BLOCK_SIZE;
    super->s_inode_size = INODE_SIZE;
    super->s_inodes_count = (uint32_t)(size / BYTES_PER_INODE);
    super->s_min_extra_isize = EXTRA_SIZE;
    super->s_want_extra_isize = EXTRA_SIZE;
    super->s_desc_size = DESCRIPTOR_SIZE;
    super->s_log_groups_per_flex = LOG_GROUPS_PER_FLEX;
    super->s_feature_compat = COMPATIBLE;
    super->s_feature_incompat = INCOMPATIBLE;
    super->s_feature_ro_compat = READ_ONLY_COMPATIBLE;
    /* After the features: the upper halves are set with 64bit only. */
    ext2fs_blocks_count_set(super, blocks);
    ext2fs_r_blocks_count_set(super, blocks * RESERVED_PERCENT / 100);
    return 0;
}

errcode_t vl_check_geometry(ext2_filsys fs, uint64_t device_size)
{
    const struct ext2_super_block *super = fs->super;

    if (fs->blocksize != VL_BLOCK_SIZE || super->s_log_cluster_size != super->s_log_block_size)
        return VL_CODE_BLOCK_SIZE;
    if (super->s_rev_level != EXT2_DYNAMIC_REV || super->s_inode_size != INODE_SIZE ||
        super->s_first_ino != FIRST_INODE)
        return VL_CODE_INODE_SIZE;
    /* A journal that is to be replayed is one of the features. */
    if (super->s_feature_compat != COMPATIBLE || super->s_feature_incompat != INCOMPATIBLE ||
        super->s_feature_ro_compat != READ_ONLY_COMPATIBLE)
        return VL_CODE_FEATURES;
    if (super->s_blocks_per_group != 8 * VL_BLOCK_SIZE || super->s_first_data_block != 0 ||
        super->s_inodes_per_group > 8 * VL_BLOCK_SIZE || super->s_desc_size != DESCRIPTOR_SIZE ||
        super->s_log_groups_per_flex != LOG_GROUPS_PER_FLEX)
        return VL_CODE_GROUPS;
    if (super->s_checksum_type != EXT2_CRC32C_CHKSUM ||
        super->s_def_hash_version != EXT2_HASH_HALF_MD4 ||
        !(super->s_flags & EXT2_FLAGS_UNSIGNED_HASH))
        return VL_CODE_HASH;
    if (ext2fs_blocks_count(fs->super) > device_size / VL_BLOCK_SIZE)
        return VL_CODE_SIZE;
    return 0;
}
