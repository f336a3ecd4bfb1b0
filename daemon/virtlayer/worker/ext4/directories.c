/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory that is written: its inode, and its blocks as a list or as a hash tree.
 *
 * A directory is read whole, changed in Python's memory, and written whole: a name costs a
 * dictionary entry there and not a scan of the blocks, which is what ext2fs_link would do. In
 * between the names are one string, because Python splits and joins one faster than it makes
 * anything of its own; "/" is what no name has in it.
 */
#include "directories.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <ext2fs/ext3_extents.h>

#include "directory_writing.h"

#define MANY_LINKS 65000

static bool has_no_blocks(const struct ext2_inode_large *inode)
{
    const struct ext3_extent_header *tree = (const void *)inode->i_block;

    return inode->i_flags & EXT4_EXTENTS_FL && !tree->eh_entries;
}

/* Has the directory have that many blocks, if it has them already, or none. */
static errcode_t size_directory(struct writing *writing, struct vl_room *room, blk64_t blocks)
{
    struct ext2_inode_large *inode = &writing->inode.fields;
    uint64_t size = blocks * writing->fs->blocksize;
    blk64_t start = room->block;

    if (EXT2_I_SIZE(inode) == size)
        return 0;
    if (!has_no_blocks(inode) || vl_give_blocks(writing->fs, room, inode, size))
        return EXT2_ET_DIR_NO_SPACE;
    writing->fresh = start;
    return 0;
}

/* The directory's name, its ".", and the ".." of each directory in it. */
static uint16_t count_links(const struct names *names)
{
    size_t links = 2;

    for (size_t i = 0; i < names->count; i++)
        links += (names->values[i] & 7) == EXT2_FT_DIR;
    /* "dir_nlink": 1 says that they are too many to count. */
    return links < MANY_LINKS ? (uint16_t)links : 1;
}

static errcode_t write_inode(struct writing *writing, const struct names *names, bool indexed)
{
    struct ext2_inode_large *inode = &writing->inode.fields;

    inode->i_links_count = count_links(names);
    inode->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
    if (indexed)
        inode->i_flags |= EXT2_INDEX_FL;
    return ext2fs_write_inode_full(writing->fs, writing->number, &writing->inode.small,
                                   VL_INODE_SIZE);
}

static errcode_t write_list(struct writing *writing, const struct names *names)
{
    size_t position = 0;

    vl_begin_block(writing);
    vl_add_directory(writing, writing->number, ".");
    vl_add_directory(writing, writing->parent, "..");
    for (size_t i = 0; i < names->count; i++) {
        struct name name = vl_next_name(names, &position);
        vl_add_entry(writing, names->values[i], name.bytes, name.length);
    }
    return vl_end_block(writing, 0);
}

static errcode_t write_as_list(struct writing *writing, struct vl_room *room,
                               const struct names *names, blk64_t *blocks)
{
    errcode_t failure;

    *blocks = 1;
    failure = size_directory(writing, room, *blocks);
    if (!failure)
        failure = write_inode(writing, names, false);
    if (!failure)
        failure = write_list(writing, names);
    return failure;
}

static errcode_t write_as_tree(struct writing *writing, struct vl_room *room,
                               const struct names *names, blk64_t *blocks)
{
    struct hashed *hashed = calloc(names->count, sizeof(*hashed));
    struct shape shape;
    errcode_t failure;

    if (!hashed)
        return ENOMEM;
    failure = vl_hash_names(writing->fs, names, hashed);
    if (!failure)
        failure = vl_shape_tree(writing->fs, hashed, names->count, &shape);
    if (!failure) {
        *blocks = shape.blocks;
        failure = size_directory(writing, room, *blocks);
    }
    if (!failure)
        failure = write_inode(writing, names, true);
    if (!failure)
        failure = vl_write_tree(writing, names, hashed, &shape);
    free(hashed);
    return failure;
}

/* How long all entries are together. */
static errcode_t measure(const struct names *names, uint64_t *used)
{
    size_t position = 0;

    *used = 2 * DOT_LENGTH;
    for (size_t i = 0; i < names->count; i++) {
        struct name name = vl_next_name(names, &position);
        if (name.length > EXT2_NAME_LEN)
            return EXT2_ET_INVALID_ARGUMENT;
        *used += vl_entry_length(name.length);
    }
    /* What struct hashed can say; four times what a hash tree can find. */
    return *used > UINT32_MAX ? EFBIG : 0;
}

errcode_t vl_write_directory(ext2_filsys fs, struct vl_room *room, ext2_ino_t number,
                             ext2_ino_t parent, const char *names, size_t length,
                             const uint64_t *values, size_t count, blk64_t *blocks)
{
    struct names all = {names, length, values, count};
    struct writing writing = {.fs = fs, .number = number, .parent = parent};
    uint64_t used;
    errcode_t failure = measure(&all, &used);

    if (!failure)
        failure = ext2fs_read_inode_full(fs, number, &writing.inode.small, VL_INODE_SIZE);
    if (failure)
        return failure;
    writing.block = malloc(fs->blocksize);
    if (!writing.block)
        return ENOMEM;
    if (used <= vl_room_of(fs))
        failure = write_as_list(&writing, room, &all, blocks);
    else
        failure = write_as_tree(&writing, room, &all, blocks);
    free(writing.block);
    return failure;
}
