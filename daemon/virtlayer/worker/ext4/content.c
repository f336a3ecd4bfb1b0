/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New nodes, and the content of files. Nearly all files come with all of
 * their content, in one call; large and sparse ones follow in pieces.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

#include "nbd_io.h"

#define SIZE_LIMIT (UINT64_C(0xFFFFFFFF) * VL_BLOCK_SIZE)

static void set_size(union inode *inode, uint64_t size)
{
    inode->fields.i_size = (uint32_t)size;
    inode->fields.i_size_high = (uint32_t)(size >> 32);
}

/* ---- content in one call ---- */

/* The bytes, and zeroes to the end of the last block. */
static errcode_t write_whole(struct vl_writer *writer, const unsigned char *content,
                             uint64_t length)
{
    io_channel io = writer->fs->io;
    errcode_t failure = 0;

    for (size_t i = 0; i < writer->runs.count && !failure; i++) {
        const struct run *run = &writer->runs.all[i];
        uint64_t offset = run->physical * VL_BLOCK_SIZE;
        uint64_t room = (uint64_t)run->length * VL_BLOCK_SIZE;
        uint64_t part = length < room ? length : room;

        failure = vl_nbd_write_data(io, offset, content, part);
        if (!failure && part < room)
            failure = vl_nbd_write_zeroes(io, offset + part, room - part);
        content += part;
        length -= part;
    }
    return failure;
}

/* Has the inode have the content, in blocks that it takes. */
static errcode_t hold_content(struct vl_writer *writer, ext2_ino_t number, union inode *inode,
                              uint64_t length)
{
    struct vl_segment all = {.length = length};
    errcode_t failure = vl_take_runs(writer, &all, 1);

    if (!failure)
        failure = vl_set_runs(writer, number, inode);
    set_size(inode, length);
    return failure;
}

static errcode_t hold_target(struct vl_writer *writer, ext2_ino_t number, union inode *inode,
                             const void *target, size_t length)
{
    if (length < sizeof(inode->fields.i_block)) {
        memcpy(inode->fields.i_block, target, length);
        set_size(inode, length);
        return 0;
    }
    if (length >= VL_BLOCK_SIZE)
        return VL_CODE_SYMLINK;
    inode->fields.i_flags |= EXT4_EXTENTS_FL;
    vl_set_empty_tree(inode);
    return hold_content(writer, number, inode, length);
}

static errcode_t check_new(const struct vl_node *node, size_t length)
{
    if (node->kind < VL_REGULAR || node->kind > VL_SYMLINK)
        return EXT2_ET_INVALID_ARGUMENT;
    if (length && node->kind != VL_REGULAR && node->kind != VL_SYMLINK)
        return EXT2_ET_INVALID_ARGUMENT;
    return length > SIZE_LIMIT ? VL_CODE_CONTENT_TOO_LARGE : 0;
}

long vl_add_node(struct vl_writer *writer, const struct vl_node *node, const void *content,
                 size_t length, uint32_t *number)
{
    union inode inode;
    errcode_t failure = check_new(node, length);

    if (failure)
        return failure;
    vl_encode_node(node, &inode);
    writer->runs.count = 0;
    failure = vl_take_inode(writer, node->kind == VL_DIRECTORY);
    if (failure)
        return failure;
    *number = writer->room.inode;
    if (node->kind == VL_REGULAR)
        failure = hold_content(writer, *number, &inode, length);
    else if (node->kind == VL_SYMLINK)
        failure = hold_target(writer, *number, &inode, content, length);
    if (!failure)
        failure = vl_write_inode(writer->fs, *number, &inode);
    return failure ? failure : write_whole(writer, content, length);
}

/* ---- content in pieces ---- */

static errcode_t check_segments(const struct vl_segment *segments, size_t count, uint64_t size)
{
    uint64_t end = 0;

    if (size > SIZE_LIMIT)
        return VL_CODE_CONTENT_TOO_LARGE;
    for (size_t i = 0; i < count; i++) {
        if (segments[i].offset < end || segments[i].offset > size ||
            segments[i].length > size - segments[i].offset)
            return VL_CODE_SEGMENTS;
        end = segments[i].offset + segments[i].length;
    }
    return 0;
}

static errcode_t begin_pouring(struct vl_writer *writer, const struct vl_segment *segments,
                               size_t count)
{
    struct pouring *pouring = &writer->pouring;
    errcode_t failure = vl_make_room(&pouring->segments, &pouring->room, count,
                                     sizeof(*segments));

    if (failure)
        return failure;
    if (count)
        memcpy(pouring->segments, segments, count * sizeof(*segments));
    pouring->count = count;
    pouring->segment = pouring->run = 0;
    pouring->come = 0;
    if (writer->runs.count)
        pouring->position = writer->runs.all[0].logical * VL_BLOCK_SIZE;
    return 0;
}

/* Writes data, or zeroes if it is NULL, to a part of the run that is being written. */
static errcode_t put(struct vl_writer *writer, const unsigned char *data, uint64_t length)
{
    const struct run *run = &writer->runs.all[writer->pouring.run];
    uint64_t within = writer->pouring.position - run->logical * VL_BLOCK_SIZE;
    uint64_t offset = run->physical * VL_BLOCK_SIZE + within;

    writer->pouring.position += length;
    return vl_nbd_write_data(writer->fs->io, offset, data, length);
}

static uint64_t end_of_run(const struct vl_writer *writer)
{
    const struct run *run = &writer->runs.all[writer->pouring.run];

    return (run->logical + run->length) * VL_BLOCK_SIZE;
}

/* Fills the run that is being written with zeroes, up to a place in the file or to its own end;
 * goes on with the runs behind it until it is there. */
static errcode_t go_to(struct vl_writer *writer, uint64_t place)
{
    struct pouring *pouring = &writer->pouring;
    errcode_t failure = 0;

    while (pouring->run < writer->runs.count && !failure) {
        uint64_t end = end_of_run(writer);
        uint64_t up_to = place < end ? place : end;

        if (pouring->position < up_to)
            failure = put(writer, NULL, up_to - pouring->position);
        if (place < end)
            break;
        if (++pouring->run < writer->runs.count)
            pouring->position = writer->runs.all[pouring->run].logical * VL_BLOCK_SIZE;
    }
    return failure;
}

static void pass_empty_segments(struct pouring *pouring)
{
    while (pouring->segment < pouring->count &&
           pouring->come == pouring->segments[pouring->segment].length) {
        pouring->segment++;
        pouring->come = 0;
    }
}

/* Writes a part of one segment that lies in one run; how much that was. */
static errcode_t write_part(struct vl_writer *writer, const unsigned char *data, size_t length,
                            size_t *part)
{
    struct pouring *pouring = &writer->pouring;
    const struct vl_segment *segment = &pouring->segments[pouring->segment];
    uint64_t rest = segment->length - pouring->come;
    errcode_t failure = go_to(writer, segment->offset + pouring->come);

    if (failure)
        return failure;
    if (pouring->run == writer->runs.count)
        return VL_CODE_SEGMENTS;
    if (rest > end_of_run(writer) - pouring->position)
        rest = end_of_run(writer) - pouring->position;
    *part = length < rest ? length : (size_t)rest;
    pouring->come += *part;
    return put(writer, data, *part);
}

long vl_add_file(struct vl_writer *writer, const struct vl_node *node, uint64_t size,
                 const struct vl_segment *segments, size_t count, uint32_t *number)
{
    union inode inode;
    errcode_t failure = check_segments(segments, count, size);

    if (!failure && node->kind != VL_REGULAR)
        failure = EXT2_ET_INVALID_ARGUMENT;
    if (!failure)
        failure = vl_take_inode(writer, false);
    if (failure)
        return failure;
    *number = writer->room.inode;
    vl_encode_node(node, &inode);
    set_size(&inode, size);
    failure = vl_take_runs(writer, segments, count);
    if (!failure)
        failure = vl_set_runs(writer, *number, &inode);
    if (!failure)
        failure = vl_write_inode(writer->fs, *number, &inode);
    if (!failure)
        failure = begin_pouring(writer, segments, count);
    return failure;
}

long vl_write_file(struct vl_writer *writer, const void *data, size_t length)
{
    struct pouring *pouring = &writer->pouring;
    const unsigned char *bytes = data;
    errcode_t failure = 0;

    pass_empty_segments(pouring);
    while (length && !failure) {
        size_t part = 0;

        if (pouring->segment == pouring->count)
            return VL_CODE_SEGMENTS;
        failure = write_part(writer, bytes, length, &part);
        bytes += part;
        length -= part;
        pass_empty_segments(pouring);
    }
    if (!failure && pouring->segment == pouring->count)
        failure = go_to(writer, UINT64_MAX);
    return failure;
}

/* ---- reading ---- */

/* Reads a part of a file that begins with a block. */
static errcode_t read_blocks(ext2_filsys fs, ext2_ino_t number, union inode *inode,
                             unsigned char *content, uint64_t start, uint64_t length)
{
    unsigned char block[VL_BLOCK_SIZE];
    errcode_t failure = 0;

    for (uint64_t done = 0; done < length && !failure; done += VL_BLOCK_SIZE) {
        uint64_t part = length - done < VL_BLOCK_SIZE ? length - done : VL_BLOCK_SIZE;
        blk64_t place = 0;

        failure = vl_find_block(fs, number, inode, (start + done) / VL_BLOCK_SIZE, &place);
        if (!failure && place)
            failure = io_channel_read_blk64(fs->io, place, 1, block);
        else
            memset(block, 0, sizeof(block));
        if (!failure)
            memcpy(content + done, block, part);
    }
    return failure;
}

long vl_read_content(struct vl_writer *writer, uint32_t number, void *content, size_t room,
                     size_t *length)
{
    union inode inode;
    uint64_t size;
    errcode_t failure = vl_read_inode(writer->fs, number, &inode);

    if (failure)
        return failure;
    size = EXT2_I_SIZE(&inode.fields);
    *length = (size_t)size;
    if (!LINUX_S_ISLNK(inode.fields.i_mode)) {
        if (!LINUX_S_ISREG(inode.fields.i_mode))
            return VL_CODE_KIND;
        if (size > room)
            return VL_CODE_CONTENT_TOO_LARGE;
    } else {
        bool has_blocks = ext2fs_inode_has_valid_blocks2(writer->fs, &inode.small);

        if (size > room || size >= (has_blocks ? VL_BLOCK_SIZE : sizeof(inode.fields.i_block)))
            return VL_CODE_SYMLINK;
        if (!has_blocks) {
            memcpy(content, inode.fields.i_block, size);
            return 0;
        }
    }
    return read_blocks(writer->fs, number, &inode, content, 0, size);
}

long vl_read_part(struct vl_writer *writer, uint32_t number, uint64_t offset, void *content,
                  size_t room, size_t *length)
{
    union inode inode;
    uint64_t size;
    errcode_t failure = vl_read_inode(writer->fs, number, &inode);

    if (failure)
        return failure;
    if (!LINUX_S_ISREG(inode.fields.i_mode))
        return VL_CODE_KIND;
    if (offset % VL_BLOCK_SIZE)
        return EXT2_ET_INVALID_ARGUMENT;
    size = EXT2_I_SIZE(&inode.fields);
    if (offset > size)
        offset = size;
    *length = size - offset < room ? (size_t)(size - offset) : room;
    return read_blocks(writer->fs, number, &inode, content, offset, *length);
}
