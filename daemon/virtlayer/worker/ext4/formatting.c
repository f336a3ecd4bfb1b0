/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An empty ext4, made by libext2fs in the order in which mke2fs(8) makes one.
 *
 * Nothing depends on this host, its clock or random numbers: the same layers give the same bytes
 * everywhere. What is not written reads as zeroes, because the volume is new. A change of anything
 * here that alters a byte raises FORMAT_VERSION (protocol/volume_format.py).
 */
#include "state.h"

#include <string.h>

#include "nbd_io.h"

#define USER_XATTR_AND_ACL (EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL) /* as mke2fs.conf has it */

static void set_identity(ext2_filsys fs, const unsigned char *identity)
{
    struct ext2_super_block *super = fs->super;

    memcpy(super->s_uuid, identity, sizeof(super->s_uuid));
    /* RFC 9562, section 5.8: a UUID of a scheme of our own. */
    super->s_uuid[6] = (super->s_uuid[6] & 0x0F) | 0x80;
    super->s_uuid[8] = (super->s_uuid[8] & 0x3F) | 0x80;
    memcpy(super->s_hash_seed, identity + sizeof(super->s_uuid), sizeof(super->s_hash_seed));
    super->s_checksum_type = EXT2_CRC32C_CHKSUM;
    super->s_def_hash_version = EXT2_HASH_HALF_MD4;
    /* Names hash alike on hosts whose char is signed and on those where it is not. */
    super->s_flags = EXT2_FLAGS_UNSIGNED_HASH;
    super->s_mkfs_time = super->s_lastcheck = super->s_wtime = FIXED_TIME;
    super->s_checkinterval = 0;
    super->s_default_mount_opts = USER_XATTR_AND_ACL;
    fs->now = FIXED_TIME;
    ext2fs_init_csum_seed(fs);
}

/* The tables of a new volume are zero; without this, the kernel zeroes them after the mount. */
static void claim_zeroed_inode_tables(ext2_filsys fs)
{
    for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
        ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
        ext2fs_group_desc_csum_set(fs, group);
    }
}

/* No lost+found, which e2fsck makes when it needs one: only the image's own tree is visible. */
static errcode_t create_reserved_inodes(ext2_filsys fs)
{
    errcode_t failure = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);

    if (failure)
        return failure;
    for (ext2_ino_t number = EXT2_BAD_INO; number < FIRST_INODE; number++)
        if (number != EXT2_ROOT_INO)
            ext2fs_inode_alloc_stats2(fs, number, 1, 0);
    ext2fs_mark_ib_dirty(fs);
    return ext2fs_update_bb_inode(fs, NULL);
}

static errcode_t create_journal(ext2_filsys fs)
{
    int blocks = ext2fs_default_journal_size(ext2fs_blocks_count(fs->super));

    if (blocks < 0)
        return EXT2_ET_JOURNAL_TOO_SMALL;
    return ext2fs_add_journal_inode2(fs, (blk_t)blocks, 0,
                                     EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
}

static errcode_t fill(ext2_filsys fs, const unsigned char *identity)
{
    errcode_t failure = vl_nbd_assume_zeroes(fs->io);

    if (failure)
        return failure;
    set_identity(fs, identity);
    failure = ext2fs_allocate_tables(fs);
    if (failure)
        return failure;
    claim_zeroed_inode_tables(fs);
    failure = create_reserved_inodes(fs);
    if (!failure)
        failure = ext2fs_create_resize_inode(fs);
    if (!failure)
        failure = create_journal(fs);
    /* The backups of the superblock are written once, here. */
    if (!failure)
        failure = ext2fs_flush2(fs, EXT2_FLAG_FLUSH_NO_SYNC);
    return failure;
}

errcode_t vl_make_filesystem(const char *device, uint64_t size, const unsigned char *identity,
                             ext2_filsys *result)
{
    struct ext2_super_block parameters;
    errcode_t failure;

    memset(&parameters, 0, sizeof(parameters));
    failure = vl_set_geometry(&parameters, size);
    if (!failure)
        failure = ext2fs_initialize(device, EXT2_FLAG_64BITS | EXT2_FLAG_EXCLUSIVE, &parameters,
                                    vl_nbd_manager, result);
    if (failure)
        return failure;
    failure = fill(*result, identity);
    if (failure)
        ext2fs_free(*result);
    return failure;
}
