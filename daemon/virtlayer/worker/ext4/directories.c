/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory that is written: its inode, and its blocks as a list or as a hash tree.
 *
 * A directory is read whole, changed in Python's memory, and written whole: a name costs a
 * dictionary entry there and not a scan of the blocks, which is what ext2fs_link would do. In
 * between, the names are one string, which Python splits and joins fast; they are separated by "/",
 * which no name contains.
 */
#include "directory_writing.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <ext2fs/ext3_extents.h>

static bool has_no_blocks(const struct ext2_inode_large *inode)
{
    const struct ext3_extent_header *tree = (const void *)inode->i_block;

    return inode->i_flags & EXT4_EXTENTS_FL && !tree->eh_entries;
}

static void set_size(union inode *inode, uint64_t size)
{
    inode->fields.i_size = (uint32_t)size;
    inode->fields.i_size_high = (uint32_t)(size >> 32);
}

/* Gives a directory other blocks, and that many. */
static errcode_t replace_blocks(struct writing *writing, uint64_t size)
{
    struct vl_segment all = {.length = size};
    errcode_t failure = vl_free_blocks(writing->fs, writing->number, &writing->inode);

    if (!failure)
        failure = vl_take_runs(writing->writer, &all, 1);
    if (failure)
        return failure;
    writing->inode.fields.i_flags |= EXT4_EXTENTS_FL;
    vl_set_empty_tree(&writing->inode);
    set_size(&writing->inode, size);
    return vl_set_runs(writing->writer, writing->number, &writing->inode);
}

/* Has the directory have that many blocks: those that it has, if they are as many. */
static errcode_t size_directory(struct writing *writing, blk64_t blocks)
{
    union inode *inode = &writing->inode;
    uint64_t size = blocks * VL_BLOCK_SIZE;
    blk64_t start = writing->writer->room.block;

    if (EXT2_I_SIZE(&inode->fields) == size)
        return 0;
    if (!has_no_blocks(&inode->fields) || vl_give_blocks(writing->writer, inode, size))
        return replace_blocks(writing, size);
    set_size(inode, size);
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
    return links < VL_LINK_LIMIT ? (uint16_t)links : 1;
}

static errcode_t write_inode(struct writing *writing, const struct names *names, bool indexed)
{
    struct ext2_inode_large *inode = &writing->inode.fields;

    inode->i_links_count = count_links(names);
    inode->i_flags &= ~(uint32_t)EXT2_INDEX_FL;
    if (indexed)
        inode->i_flags |= EXT2_INDEX_FL;
    return vl_write_inode(writing->fs, writing->number, &writing->inode);
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

static errcode_t write_as_list(struct writing *writing, const struct names *names)
{
    errcode_t failure = size_directory(writing, 1);

    if (!failure)
        failure = write_inode(writing, names, false);
    if (!failure)
        failure = write_list(writing, names);
    return failure;
}

static errcode_t write_as_tree(struct writing *writing, const struct names *names)
{
    struct hashed *hashed = calloc(names->count, sizeof(*hashed));
    struct shape shape;
    errcode_t failure;

    if (!hashed)
        return ENOMEM;
    failure = vl_hash_names(writing->fs, names, hashed);
    if (!failure)
        failure = vl_shape_tree(writing->fs, hashed, names->count, &shape);
    if (!failure)
        failure = size_directory(writing, shape.blocks);
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
    return *used > UINT32_MAX ? VL_CODE_DIRECTORY_TOO_LARGE : 0;
}

long vl_write_directory(struct vl_writer *writer, uint32_t number, uint32_t parent,
                        const char *names, size_t length, const uint64_t *values, size_t count)
{
    struct names all = {names, length, values, count};
    struct writing writing = {
        .writer = writer, .fs = writer->fs, .number = number, .parent = parent};
    uint64_t used;
    errcode_t failure = measure(&all, &used);

    if (!failure)
        failure = vl_read_inode(writer->fs, number, &writing.inode);
    if (failure)
        return failure;
    writing.block = malloc(VL_BLOCK_SIZE);
    if (!writing.block)
        return ENOMEM;
    if (used <= vl_room_of(writer->fs))
        failure = write_as_list(&writing, &all);
    else
        failure = write_as_tree(&writing, &all);
    free(writing.block);
    return failure;
}
