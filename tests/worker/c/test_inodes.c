/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fields of an inode: what is put in comes out. */
#include "inodes.c"

#include "expect.h"

#define ROUNDS 200000

/* What inodes.c needs of other files, and does not use here. */
void vl_set_empty_tree(union inode *inode)
{
    memset(inode->fields.i_block, 7, sizeof(inode->fields.i_block));
}

errcode_t vl_free_blocks(ext2_filsys fs, ext2_ino_t number, union inode *inode)
{
    (void)fs, (void)number, (void)inode;
    abort();
}

long vl_write_attributes(struct vl_writer *writer, uint32_t number,
                         const struct vl_attribute *attributes, size_t count)
{
    (void)writer, (void)number, (void)attributes, (void)count;
    abort();
}

static uint64_t state = 1;

/* The same numbers each time (splitmix64). */
static uint64_t number(void)
{
    uint64_t value = state += UINT64_C(0x9E3779B97F4A7C15);

    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static struct vl_node any_node(void)
{
    static const int64_t ends[] = {-INT64_C(0x80000000), -1, 0, INT64_C(0x7FFFFFFF),
                                   INT64_C(0x80000000), (INT64_C(3) << 32) + INT32_MAX};
    bool is_end = number() % 4 == 0;

    return (struct vl_node){
        .kind = VL_REGULAR + (uint32_t)(number() % VL_SYMLINK),
        .mode = number() & PERMISSIONS,
        .uid = (uint32_t)number(),
        .gid = (uint32_t)number(),
        .major = number() % 4096,
        .minor = number() % (1 << 20),
        .seconds = is_end ? ends[number() % 6] : (int64_t)(number() >> 30) + INT32_MIN,
        .nanoseconds = number() % 1000000000,
    };
}

static void expect_same(const struct vl_node *left, const struct vl_node *right)
{
    EXPECT(left->kind == right->kind);
    EXPECT(left->mode == right->mode);
    EXPECT(left->uid == right->uid);
    EXPECT(left->gid == right->gid);
    EXPECT(left->seconds == right->seconds);
    EXPECT(left->nanoseconds == right->nanoseconds);
    EXPECT(left->size == right->size);
    EXPECT(!left->has_attributes == !right->has_attributes);
}

static void what_is_put_in_comes_out(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct vl_node node = any_node(), found;
        union inode inode;

        vl_encode_node(&node, &inode);
        vl_decode_node(&inode, &found);
        expect_same(&node, &found);
    }
}

static void an_owner_is_replaced_and_nothing_else(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct vl_node node = any_node(), owner = any_node(), found;
        union inode inode, before;

        vl_encode_node(&node, &inode);
        inode.fields.i_size = (uint32_t)number();
        inode.fields.i_size_high = (uint32_t)number();
        before = inode;
        set_owner(&inode.fields, &owner);
        vl_decode_node(&inode, &found);
        EXPECT(found.uid == owner.uid && found.gid == owner.gid);
        EXPECT(found.mode == node.mode);
        set_owner(&inode.fields, &node);
        EXPECT(!memcmp(&inode, &before, sizeof(inode)));
    }
}

static void sectors_go_beyond_32_bits(void)
{
    struct vl_node node = {.kind = VL_REGULAR}, found;
    union inode inode;

    vl_encode_node(&node, &inode);
    vl_set_sectors(&inode, (UINT64_C(1) << 40) + 8);
    EXPECT(inode.fields.i_blocks == 8);
    EXPECT(inode.fields.osd2.linux2.l_i_blocks_hi == 1 << 8);
    vl_decode_node(&inode, &found);
    EXPECT(!found.has_attributes);
}

/* i_extra_isize is whatever somebody has written there. */
static void attributes_are_not_looked_for_beyond_the_inode(void)
{
    for (uint32_t extra = 0; extra <= UINT16_MAX; extra++) {
        struct vl_node found;
        union inode inode;

        memset(&inode, 0, sizeof(inode));
        inode.fields.i_extra_isize = (uint16_t)extra;
        vl_decode_node(&inode, &found);
        EXPECT(!found.has_attributes);
    }
}

int main(void)
{
    what_is_put_in_comes_out();
    an_owner_is_replaced_and_nothing_else();
    sectors_go_beyond_32_bits();
    attributes_are_not_looked_for_beyond_the_inode();
    return 0;
}
