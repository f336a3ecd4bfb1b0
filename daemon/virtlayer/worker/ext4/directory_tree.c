/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A directory as a hash tree (ext4(5), "Hash Tree Directories"). */
#define _GNU_SOURCE /* qsort_r */
#include "directory_writing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_hash(const void *left, const void *right, void *names)
{
    const struct hashed *a = left, *b = right;
    const char *bytes = names;
    int order;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    order = memcmp(bytes + a->position, bytes + b->position,
                   a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

errcode_t vl_hash_names(ext2_filsys fs, const struct names *names, struct hashed *hashed)
{
    size_t position = 0;

    for (size_t i = 0; i < names->count; i++) {
        size_t start = position;
        struct name name = vl_next_name(names, &position);
        errcode_t failure = ext2fs_dirhash2(EXT2_HASH_HALF_MD4_UNSIGNED, name.bytes,
                                            (int)name.length, NULL, 0, fs->super->s_hash_seed,
                                            &hashed[i].hash, NULL);
        if (failure)
            return failure;
        hashed[i].position = (uint32_t)start;
        hashed[i].length = (uint32_t)name.length;
        hashed[i].value = (uint32_t)i;
    }
    qsort_r(hashed, names->count, sizeof(*hashed), by_hash, (void *)names->bytes);
    return 0;
}

static size_t count_leaves(ext2_filsys fs, const struct hashed *hashed, size_t count)
{
    unsigned room = vl_room_of(fs), used = 0;
    size_t leaves = 1;

    for (size_t i = 0; i < count; i++) {
        unsigned length = vl_entry_length(hashed[i].length);
        if (used + length > room) {
            leaves++;
            used = 0;
        }
        used += length;
    }
    return leaves;
}

/* What follows the bytes of an index block that look like a block without names. */
static size_t index_limit(ext2_filsys fs, size_t before)
{
    return (fs->blocksize - before - sizeof(struct ext2_dx_tail)) / sizeof(struct ext2_dx_entry);
}

#define ROOT_INDEX (2 * DOT_LENGTH + sizeof(struct ext2_dx_root_info))
#define NODE_INDEX EXT2_DIR_ENTRY_HEADER_LEN


errcode_t vl_shape_tree(ext2_filsys fs, const struct hashed *hashed, size_t count, struct shape *shape)
{
    size_t root_limit = index_limit(fs, ROOT_INDEX);

    shape->leaves = count_leaves(fs, hashed, count);
    shape->node_limit = index_limit(fs, NODE_INDEX);
    shape->nodes = shape->leaves <= root_limit ? 0 : (shape->leaves - 1) / shape->node_limit + 1;
    shape->blocks = 1 + shape->nodes + shape->leaves;
    return shape->nodes > root_limit ? VL_CODE_DIRECTORY_TOO_LARGE : 0;
}


/* Writes the leaves, and says of each the lowest hash that leads to it. */
static errcode_t write_leaves(struct writing *writing, const struct names *names,
                              const struct hashed *hashed, blk64_t logical, uint32_t *starts)
{
    unsigned room = vl_room_of(writing->fs);
    errcode_t failure = 0;

    vl_begin_block(writing);
    *starts = 0;
    for (size_t i = 0; i < names->count && !failure; i++) {
        const struct hashed *name = &hashed[i];

        if (writing->used + vl_entry_length(name->length) > room) {
            failure = vl_end_block(writing, logical++);
            vl_begin_block(writing);
            /* Bit 0 says that names of the same hash stand in the block before as well. */
            *++starts = name->hash | (name->hash == hashed[i - 1].hash);
        }
        vl_add_entry(writing, names->values[name->value], names->bytes + name->position,
                  name->length);
    }
    return failure ? failure : vl_end_block(writing, logical);
}

/* An index of blocks that follow one another. The first one needs no hash: limit and count stand
 * in its place. */
static void set_index(void *place, size_t limit, const uint32_t *starts, size_t step, size_t count,
                      blk64_t first)
{
    struct ext2_dx_entry *entries = place;
    struct ext2_dx_countlimit *head = place;

    for (size_t i = 0; i < count; i++) {
        entries[i].hash = ext2fs_cpu_to_le32(starts[i * step]);
        entries[i].block = ext2fs_cpu_to_le32((uint32_t)(first + i));
    }
    head->limit = ext2fs_cpu_to_le16((uint16_t)limit);
    head->count = ext2fs_cpu_to_le16((uint16_t)count);
}

static errcode_t write_root(struct writing *writing, const struct shape *shape,
                            const uint32_t *starts)
{
    unsigned size = writing->fs->blocksize;
    struct ext2_dx_root_info *info = (void *)(writing->block + 2 * DOT_LENGTH);

    vl_begin_block(writing);
    vl_add_directory(writing, writing->number, ".");
    /* For readers without hash trees, ".." is the last entry and fills the block. */
    vl_add_directory(writing, writing->parent, "..")->rec_len = (uint16_t)(size - DOT_LENGTH);
    info->hash_version = EXT2_HASH_HALF_MD4;
    info->info_length = sizeof(*info);
    info->indirect_levels = shape->nodes != 0;
    set_index(info + 1, index_limit(writing->fs, ROOT_INDEX), starts,
              shape->nodes ? shape->node_limit : 1, shape->nodes ? shape->nodes : shape->leaves, 1);
    return vl_write_block(writing, 0);
}

static errcode_t write_node(struct writing *writing, const struct shape *shape, size_t node,
                            const uint32_t *starts)
{
    struct ext2_dir_entry *nameless = (void *)writing->block;
    size_t first = node * shape->node_limit;
    size_t rest = shape->leaves - first;

    vl_begin_block(writing);
    nameless->rec_len = (uint16_t)writing->fs->blocksize;
    set_index(writing->block + NODE_INDEX, shape->node_limit, starts + first, 1,
              rest < shape->node_limit ? rest : shape->node_limit, 1 + shape->nodes + first);
    return vl_write_block(writing, 1 + node);
}

errcode_t vl_write_tree(struct writing *writing, const struct names *names,
                     const struct hashed *hashed, const struct shape *shape)
{
    uint32_t *starts = malloc(shape->leaves * sizeof(*starts));
    errcode_t failure;

    if (!starts)
        return ENOMEM;
    failure = write_leaves(writing, names, hashed, 1 + shape->nodes, starts);
    if (!failure)
        failure = write_root(writing, shape, starts);
    for (size_t node = 0; node < shape->nodes && !failure; node++)
        failure = write_node(writing, shape, node, starts);
    free(starts);
    return failure;
}
