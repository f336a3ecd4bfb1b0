/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The blocks of a directory (ext4(5), "Directory Entries" and "Hash Tree Directories").
 *
 * A directory is read whole, changed in Python's memory, and written whole: a name costs a
 * dictionary entry there and not a scan of the blocks, which is what ext2fs_link would do. In
 * between the names are one string, because Python splits and joins one faster than it makes
 * anything of its own; "/" is what no name has in it.
 */
#define _GNU_SOURCE /* qsort_r */
#include "directories.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ext2fs/ext3_extents.h>

#include "nbd_io.h"

#define HEADER EXT2_DIR_ENTRY_HEADER_LEN
#define DOT_LENGTH 12u  /* of the entry "." or ".." */
#define MANY_LINKS 65000

static errcode_t read_inode(ext2_filsys fs, ext2_ino_t number, union vl_inode *inode)
{
    return ext2fs_read_inode_full(fs, number, &inode->small, VL_INODE_SIZE);
}

static errcode_t find_block(ext2_filsys fs, ext2_ino_t number, union vl_inode *inode,
                            blk64_t logical, blk64_t *place)
{
    errcode_t failure = ext2fs_bmap2(fs, number, &inode->small, NULL, 0, logical, NULL, place);

    /* A directory has no holes. */
    return !failure && !*place ? EXT2_ET_DIR_CORRUPTED : failure;
}

/* ---- reading ---- */

/* Has an array hold at least that many elements of that size. */
static errcode_t grow(void *array, size_t *room, size_t needed, size_t size)
{
    void **place = array;
    size_t wanted = needed > 2 * *room ? needed : 2 * *room;
    void *grown;

    if (needed <= *room)
        return 0;
    grown = realloc(*place, wanted * size);
    if (!grown)
        return ENOMEM;
    *place = grown;
    *room = wanted;
    return 0;
}

/* Room for what fills a block, which is as much as most directories have. */
static errcode_t begin_listing(struct vl_listing *listing, size_t block_size)
{
    errcode_t failure = grow(&listing->names, &listing->names_room, block_size, 1);

    if (!failure)
        failure = grow(&listing->values, &listing->values_room, block_size / DOT_LENGTH,
                       sizeof(*listing->values));
    return failure;
}

static errcode_t list_name(struct vl_listing *listing, const char *name, size_t length,
                           uint64_t value)
{
    errcode_t failure;

    if (memchr(name, '/', length))
        return EXT2_ET_DIR_CORRUPTED;
    failure = grow(&listing->names, &listing->names_room, listing->length + length + 1, 1);
    if (!failure)
        failure = grow(&listing->values, &listing->values_room, listing->count + 1,
                       sizeof(*listing->values));
    if (failure)
        return failure;
    memcpy(listing->names + listing->length, name, length);
    listing->length += length;
    listing->names[listing->length++] = '/';
    listing->values[listing->count++] = value;
    return 0;
}

/* The blocks of an index look like blocks without names. Whatever else a block holds, nothing
 * beyond it is looked at: a damaged one has names that end with it, or fewer of them. */
static errcode_t list_block(struct vl_listing *listing, const char *block, size_t size)
{
    struct ext2_dir_entry entry;
    errcode_t failure = 0;

    for (size_t offset = 0; offset + HEADER <= size && !failure; offset += entry.rec_len) {
        const char *name = block + offset + HEADER;
        size_t length, rest = size - offset - HEADER;

        /* Copied, for it may lie anywhere. */
        memcpy(&entry, block + offset, HEADER);
        length = (size_t)ext2fs_dirent_name_len(&entry);
        if (length > rest)
            length = rest;
        if (entry.inode && length == 2 && !memcmp(name, "..", 2))
            listing->parent = entry.inode;
        else if (entry.inode && !(length == 1 && *name == '.'))
            failure = list_name(listing, name, length,
                                (uint64_t)entry.inode << 3 | (uint64_t)ext2fs_dirent_file_type(&entry));
        if (entry.rec_len < HEADER)
            break;
    }
    return failure;
}

static errcode_t list_blocks(ext2_filsys fs, ext2_ino_t number, struct vl_listing *listing,
                             char *block)
{
    union vl_inode inode;
    blk64_t place, blocks;
    errcode_t failure = begin_listing(listing, fs->blocksize);

    if (!failure)
        failure = read_inode(fs, number, &inode);
    if (failure)
        return failure;
    blocks = EXT2_I_SIZE(&inode.fields) / fs->blocksize;
    for (blk64_t logical = 0; logical < blocks && !failure; logical++) {
        failure = find_block(fs, number, &inode, logical, &place);
        if (!failure)
            failure = ext2fs_read_dir_block4(fs, place, block, 0, number);
        if (!failure)
            failure = list_block(listing, block, fs->blocksize);
    }
    return failure;
}

errcode_t vl_read_directory(ext2_filsys fs, ext2_ino_t number, struct vl_listing *listing)
{
    char *block = malloc(fs->blocksize);
    errcode_t failure = ENOMEM;

    memset(listing, 0, sizeof(*listing));
    if (block)
        failure = list_blocks(fs, number, listing, block);
    free(block);
    if (failure)
        vl_forget_listing(listing);
    return failure;
}

void vl_forget_listing(struct vl_listing *listing)
{
    free(listing->names);
    free(listing->values);
    memset(listing, 0, sizeof(*listing));
}

/* ---- writing ---- */

/* What a directory should hold. */
struct names {
    const char *bytes;
    size_t length;
    const uint64_t *values;
    size_t count;
};

struct name {
    const char *bytes;
    size_t length;
};

/* A directory that is being written, a block at a time. */
struct writing {
    ext2_filsys fs;
    ext2_ino_t number;
    ext2_ino_t parent;
    union vl_inode inode;
    blk64_t fresh;          /* where its blocks begin, if it has just been given them */
    char *block;
    unsigned used;          /* of the block, by entries */
    struct ext2_dir_entry *last; /* of them */
};

/* In the order in which a hash tree has it. */
struct hashed {
    uint32_t hash;
    uint32_t position;      /* in all the names */
    uint32_t value;         /* which one of them */
    uint32_t length;
};

/* The name at a position, which becomes that of the one behind it. */
static struct name next_name(const struct names *names, size_t *position)
{
    const char *start = names->bytes + *position;
    size_t rest = names->length - *position;
    const char *slash = memchr(start, '/', rest);
    size_t length = slash ? (size_t)(slash - start) : rest;

    *position += length + (slash != NULL);
    return (struct name){start, length};
}

static unsigned entry_length(size_t name_length)
{
    return (HEADER + (unsigned)name_length + 3) & ~3u;
}

/* How much of a block is there for entries: the tail has the checksum. */
static unsigned room_of(ext2_filsys fs)
{
    return fs->blocksize - (unsigned)sizeof(struct ext2_dir_entry_tail);
}

static void begin_block(struct writing *writing)
{
    memset(writing->block, 0, writing->fs->blocksize);
    writing->used = 0;
    writing->last = NULL;
}

static struct ext2_dir_entry *add_entry(struct writing *writing, uint64_t value, const char *name,
                                        size_t length)
{
    struct ext2_dir_entry *entry = (void *)(writing->block + writing->used);

    entry->inode = (uint32_t)(value >> 3);
    entry->rec_len = (uint16_t)entry_length(length);
    ext2fs_dirent_set_name_len(entry, (int)length);
    ext2fs_dirent_set_file_type(entry, (int)(value & 7));
    memcpy(entry->name, name, length);
    writing->used += entry->rec_len;
    writing->last = entry;
    return entry;
}

static struct ext2_dir_entry *add_directory(struct writing *writing, ext2_ino_t number,
                                            const char *name)
{
    return add_entry(writing, (uint64_t)number << 3 | EXT2_FT_DIR, name, strlen(name));
}

/* What ext2fs_write_dir_block4 does, but around the cache: blocks that have just been given to a
 * directory follow one another, and nobody has any use for what they held. */
static errcode_t write_fresh_block(struct writing *writing, blk64_t place)
{
    ext2_filsys fs = writing->fs;
    errcode_t failure = 0;

    if (ext2fs_cpu_to_le32(1) != 1)
        failure = ext2fs_dirent_swab_out(fs, writing->block, 0);
    if (!failure)
        failure = ext2fs_dir_block_csum_set(fs, writing->number, (void *)writing->block);
    if (!failure)
        failure = vl_nbd_write_data(fs->io, place * fs->blocksize, writing->block, fs->blocksize);
    return failure;
}

static errcode_t write_block(struct writing *writing, blk64_t logical)
{
    blk64_t place;
    errcode_t failure;

    if (writing->fresh)
        return write_fresh_block(writing, writing->fresh + logical);
    failure = find_block(writing->fs, writing->number, &writing->inode, logical, &place);
    if (failure)
        return failure;
    return ext2fs_write_dir_block4(writing->fs, place, writing->block, 0, writing->number);
}

/* A block of entries, of which the last one reaches to the tail. */
static errcode_t end_block(struct writing *writing, blk64_t logical)
{
    unsigned room = room_of(writing->fs);

    writing->last->rec_len += (uint16_t)(room - writing->used);
    ext2fs_initialize_dirent_tail(writing->fs, (void *)(writing->block + room));
    return write_block(writing, logical);
}

static errcode_t write_list(struct writing *writing, const struct names *names)
{
    size_t position = 0;

    begin_block(writing);
    add_directory(writing, writing->number, ".");
    add_directory(writing, writing->parent, "..");
    for (size_t i = 0; i < names->count; i++) {
        struct name name = next_name(names, &position);
        add_entry(writing, names->values[i], name.bytes, name.length);
    }
    return end_block(writing, 0);
}

/* ---- hash trees ---- */

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

static errcode_t hash_names(ext2_filsys fs, const struct names *names, struct hashed *hashed)
{
    size_t position = 0;

    for (size_t i = 0; i < names->count; i++) {
        size_t start = position;
        struct name name = next_name(names, &position);
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
    unsigned room = room_of(fs), used = 0;
    size_t leaves = 1;

    for (size_t i = 0; i < count; i++) {
        unsigned length = entry_length(hashed[i].length);
        if (used + length > room) {
            leaves++;
            used = 0;
        }
        used += length;
    }
    return leaves;
}

/* What an index block has behind the bytes that make it look like one without names. */
static size_t index_limit(ext2_filsys fs, size_t before)
{
    return (fs->blocksize - before - sizeof(struct ext2_dx_tail)) / sizeof(struct ext2_dx_entry);
}

#define ROOT_INDEX (2 * DOT_LENGTH + sizeof(struct ext2_dx_root_info))
#define NODE_INDEX HEADER

/* The index has one level, the root, or two. */
struct shape {
    size_t leaves;
    size_t nodes;           /* between root and leaves */
    size_t node_limit;
    size_t blocks;
};

static errcode_t shape_tree(ext2_filsys fs, size_t leaves, struct shape *shape)
{
    size_t root_limit = index_limit(fs, ROOT_INDEX);

    shape->leaves = leaves;
    shape->node_limit = index_limit(fs, NODE_INDEX);
    shape->nodes = leaves <= root_limit ? 0 : (leaves - 1) / shape->node_limit + 1;
    shape->blocks = 1 + shape->nodes + leaves;
    return shape->nodes > root_limit ? EFBIG : 0;
}

/* Writes the leaves, and says of each the lowest hash that leads to it. */
static errcode_t write_leaves(struct writing *writing, const struct names *names,
                              const struct hashed *hashed, blk64_t logical, uint32_t *starts)
{
    unsigned room = room_of(writing->fs);
    errcode_t failure = 0;

    begin_block(writing);
    *starts = 0;
    for (size_t i = 0; i < names->count && !failure; i++) {
        const struct hashed *name = &hashed[i];

        if (writing->used + entry_length(name->length) > room) {
            failure = end_block(writing, logical++);
            begin_block(writing);
            /* Bit 0 says that names of the same hash stand in the block before as well. */
            *++starts = name->hash | (name->hash == hashed[i - 1].hash);
        }
        add_entry(writing, names->values[name->value], names->bytes + name->position,
                  name->length);
    }
    return failure ? failure : end_block(writing, logical);
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

    begin_block(writing);
    add_directory(writing, writing->number, ".");
    /* To who knows no hash trees, ".." is the last entry and reaches to the end of the block. */
    add_directory(writing, writing->parent, "..")->rec_len = (uint16_t)(size - DOT_LENGTH);
    info->hash_version = EXT2_HASH_HALF_MD4;
    info->info_length = sizeof(*info);
    info->indirect_levels = shape->nodes != 0;
    set_index(info + 1, index_limit(writing->fs, ROOT_INDEX), starts,
              shape->nodes ? shape->node_limit : 1, shape->nodes ? shape->nodes : shape->leaves, 1);
    return write_block(writing, 0);
}

static errcode_t write_node(struct writing *writing, const struct shape *shape, size_t node,
                            const uint32_t *starts)
{
    struct ext2_dir_entry *nameless = (void *)writing->block;
    size_t first = node * shape->node_limit;
    size_t rest = shape->leaves - first;

    begin_block(writing);
    nameless->rec_len = (uint16_t)writing->fs->blocksize;
    set_index(writing->block + NODE_INDEX, shape->node_limit, starts + first, 1,
              rest < shape->node_limit ? rest : shape->node_limit, 1 + shape->nodes + first);
    return write_block(writing, 1 + node);
}

static errcode_t write_tree(struct writing *writing, const struct names *names,
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

/* ---- the whole of it ---- */

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
    failure = hash_names(writing->fs, names, hashed);
    if (!failure)
        failure = shape_tree(writing->fs, count_leaves(writing->fs, hashed, names->count), &shape);
    if (!failure) {
        *blocks = shape.blocks;
        failure = size_directory(writing, room, *blocks);
    }
    if (!failure)
        failure = write_inode(writing, names, true);
    if (!failure)
        failure = write_tree(writing, names, hashed, &shape);
    free(hashed);
    return failure;
}

/* How long all entries are together. */
static errcode_t measure(const struct names *names, uint64_t *used)
{
    size_t position = 0;

    *used = 2 * DOT_LENGTH;
    for (size_t i = 0; i < names->count; i++) {
        struct name name = next_name(names, &position);
        if (name.length > EXT2_NAME_LEN)
            return EXT2_ET_INVALID_ARGUMENT;
        *used += entry_length(name.length);
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
        failure = read_inode(fs, number, &writing.inode);
    if (failure)
        return failure;
    writing.block = malloc(fs->blocksize);
    if (!writing.block)
        return ENOMEM;
    if (used <= room_of(fs))
        failure = write_as_list(&writing, room, &all, blocks);
    else
        failure = write_as_tree(&writing, room, &all, blocks);
    free(writing.block);
    return failure;
}
