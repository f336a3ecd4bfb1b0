/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inodes: free ones, their fields, and how many names they have (ext4(5), "Inode Table"). */
#include "state.h"

#include <string.h>

#define PERMISSIONS 07777u
#define CLASSIC_SIZE 128

static const uint16_t type_bits[] = {
    [VL_REGULAR] = LINUX_S_IFREG,
    [VL_DIRECTORY] = LINUX_S_IFDIR,
    [VL_CHARACTER_DEVICE] = LINUX_S_IFCHR,
    [VL_BLOCK_DEVICE] = LINUX_S_IFBLK,
    [VL_FIFO] = LINUX_S_IFIFO,
    [VL_SOCKET] = LINUX_S_IFSOCK,
    [VL_SYMLINK] = LINUX_S_IFLNK,
};

errcode_t vl_read_inode(ext2_filsys fs, ext2_ino_t number, union inode *inode)
{
    errcode_t failure = ext2fs_read_inode_full(fs, number, &inode->small, INODE_SIZE);

    if (!failure && !inode->fields.i_links_count)
        failure = VL_CODE_UNUSED;
    return failure;
}

errcode_t vl_write_inode(ext2_filsys fs, ext2_ino_t number, union inode *inode)
{
    return ext2fs_write_inode_full(fs, number, &inode->small, INODE_SIZE);
}

errcode_t vl_take_inode(struct vl_writer *writer, bool is_directory)
{
    ext2_filsys fs = writer->fs;
    ext2_ino_t end = fs->super->s_inodes_count;
    ext2_ino_t number = 0;

    if (writer->room.inode < end)
        ext2fs_find_first_zero_inode_bitmap2(fs->inode_map, writer->room.inode + 1, end, &number);
    if (!number)
        ext2fs_find_first_zero_inode_bitmap2(fs->inode_map, fs->super->s_first_ino, end, &number);
    if (!number)
        return EXT2_ET_INODE_ALLOC_FAIL;
    writer->room.inode = number;
    ext2fs_inode_alloc_stats2(fs, number, 1, is_directory);
    return 0;
}

/* ---- fields ---- */

static void set_owner(struct ext2_inode_large *fields, const struct vl_node *node)
{
    fields->i_uid = (uint16_t)node->uid;
    fields->i_gid = (uint16_t)node->gid;
    fields->osd2.linux2.l_i_uid_high = (uint16_t)(node->uid >> 16);
    fields->osd2.linux2.l_i_gid_high = (uint16_t)(node->gid >> 16);
}

/* Every time of the inode is the same one, so that the same layer gives the same bytes (ext4(5),
 * "Inode Timestamps"). */
static void set_times(struct ext2_inode_large *fields, const struct vl_node *node)
{
    uint32_t classic = (uint32_t)node->seconds;
    uint32_t extra = (uint32_t)((node->seconds + INT64_C(0x80000000)) >> 32 & 3) |
                     node->nanoseconds << 2;

    fields->i_atime = fields->i_ctime = fields->i_mtime = fields->i_crtime = classic;
    fields->i_atime_extra = fields->i_ctime_extra = fields->i_mtime_extra = extra;
    fields->i_crtime_extra = extra;
}

static void set_permissions(struct ext2_inode_large *fields, const struct vl_node *node)
{
    fields->i_mode = (uint16_t)((fields->i_mode & ~PERMISSIONS) | (node->mode & PERMISSIONS));
}

/* As Linux has it (new_encode_dev). */
static void set_device(struct ext2_inode_large *fields, uint32_t major, uint32_t minor)
{
    if (major < 256 && minor < 256)
        fields->i_block[0] = major << 8 | minor;
    else
        fields->i_block[1] = (minor & 0xFF) | major << 8 | (minor & ~UINT32_C(0xFF)) << 12;
}

void vl_encode_node(const struct vl_node *node, union inode *inode)
{
    struct ext2_inode_large *fields = &inode->fields;

    memset(inode, 0, sizeof(*inode));
    fields->i_mode = type_bits[node->kind];
    set_permissions(fields, node);
    set_owner(fields, node);
    set_times(fields, node);
    fields->i_links_count = node->kind == VL_DIRECTORY ? 2 : 1;
    fields->i_extra_isize = EXTRA_SIZE;
    if (node->kind == VL_REGULAR || node->kind == VL_DIRECTORY) {
        fields->i_flags = EXT4_EXTENTS_FL;
        vl_set_empty_tree(inode);
    }
    if (node->kind == VL_CHARACTER_DEVICE || node->kind == VL_BLOCK_DEVICE)
        set_device(fields, node->major, node->minor);
}

static bool has_attributes(const union inode *inode)
{
    size_t beside = CLASSIC_SIZE + (size_t)inode->fields.i_extra_isize;
    uint32_t magic;

    if (vl_attribute_sectors(inode))
        return true;
    if (beside + sizeof(magic) > INODE_SIZE)
        return false;
    memcpy(&magic, inode->bytes + beside, sizeof(magic));
    return ext2fs_le32_to_cpu(magic) == EXT2_EXT_ATTR_MAGIC;
}

void vl_decode_node(const union inode *inode, struct vl_node *node)
{
    const struct ext2_inode_large *fields = &inode->fields;

    node->kind = 0;
    for (uint32_t kind = VL_REGULAR; kind <= VL_SYMLINK; kind++)
        if ((fields->i_mode & LINUX_S_IFMT) == type_bits[kind])
            node->kind = kind;
    node->mode = fields->i_mode & PERMISSIONS;
    node->uid = fields->i_uid | (uint32_t)fields->osd2.linux2.l_i_uid_high << 16;
    node->gid = fields->i_gid | (uint32_t)fields->osd2.linux2.l_i_gid_high << 16;
    node->major = node->minor = 0;
    node->seconds = (int64_t)(int32_t)fields->i_mtime +
                    ((int64_t)(fields->i_mtime_extra & 3) << 32);
    node->nanoseconds = fields->i_mtime_extra >> 2;
    node->size = EXT2_I_SIZE(fields);
    node->has_attributes = has_attributes(inode);
}

unsigned vl_attribute_sectors(const union inode *inode)
{
    const struct ext2_inode_large *fields = &inode->fields;

    return fields->i_file_acl || fields->osd2.linux2.l_i_file_acl_high ? VL_BLOCK_SIZE / 512 : 0;
}

void vl_set_sectors(union inode *inode, uint64_t sectors)
{
    inode->fields.i_blocks = (uint32_t)sectors;
    inode->fields.osd2.linux2.l_i_blocks_hi = (uint16_t)(sectors >> 32);
}

/* ---- what Python asks for ---- */

long vl_read_node(struct vl_writer *writer, uint32_t number, struct vl_node *node)
{
    union inode inode;
    errcode_t failure = vl_read_inode(writer->fs, number, &inode);

    if (failure)
        return failure;
    node->number = number;
    vl_decode_node(&inode, node);
    return 0;
}

#define SCANNED_BLOCKS 64 /* of an inode table that are read at a time: 256 KiB, 1024 inodes */

static void end_scan(struct vl_writer *writer)
{
    if (writer->scan)
        ext2fs_close_inode_scan(writer->scan);
    writer->scan = NULL;
}

long vl_next_node(struct vl_writer *writer, struct vl_node *node)
{
    union inode inode;
    ext2_ino_t number;
    errcode_t failure = 0;

    if (!node->number) {
        end_scan(writer);
        failure = ext2fs_open_inode_scan(writer->fs, SCANNED_BLOCKS, &writer->scan);
    }
    if (failure || !writer->scan)
        return failure ? failure : EXT2_ET_INVALID_ARGUMENT;
    do {
        failure = ext2fs_get_next_inode_full(writer->scan, &number, &inode.small, INODE_SIZE);
        if (failure || !number) {
            end_scan(writer);
            node->number = 0;
            return failure;
        }
    } while (!inode.fields.i_links_count || (number < FIRST_INODE && number != VL_ROOT));
    node->number = number;
    vl_decode_node(&inode, node);
    return 0;
}

long vl_set_metadata(struct vl_writer *writer, const struct vl_node *node,
                     const struct vl_attribute *attributes, size_t count)
{
    union inode inode;
    errcode_t failure = vl_read_inode(writer->fs, node->number, &inode);

    if (failure)
        return failure;
    set_permissions(&inode.fields, node);
    set_owner(&inode.fields, node);
    set_times(&inode.fields, node);
    /* libext2fs would keep the block, if only to write into it that there is nothing. */
    failure = ext2fs_free_ext_attr(writer->fs, node->number, &inode.fields);
    if (!failure)
        failure = vl_write_inode(writer->fs, node->number, &inode);
    return failure ? failure : vl_write_attributes(writer, node->number, attributes, count);
}

long vl_set_owner(struct vl_writer *writer, const struct vl_node *node)
{
    union inode inode;
    errcode_t failure = vl_read_inode(writer->fs, node->number, &inode);

    if (failure)
        return failure;
    set_owner(&inode.fields, node);
    return vl_write_inode(writer->fs, node->number, &inode);
}

long vl_add_link(struct vl_writer *writer, uint32_t number)
{
    union inode inode;
    errcode_t failure = vl_read_inode(writer->fs, number, &inode);

    if (failure)
        return failure;
    if (inode.fields.i_links_count >= VL_LINK_LIMIT)
        return VL_CODE_TOO_MANY_LINKS;
    inode.fields.i_links_count++;
    return vl_write_inode(writer->fs, number, &inode);
}

static errcode_t free_inode(struct vl_writer *writer, ext2_ino_t number, union inode *inode,
                            bool is_directory)
{
    errcode_t failure = ext2fs_free_ext_attr(writer->fs, number, &inode->fields);

    if (!failure)
        failure = vl_free_blocks(writer->fs, number, inode);
    if (failure)
        return failure;
    inode->fields.i_links_count = 0;
    inode->fields.i_dtime = FIXED_TIME;
    failure = vl_write_inode(writer->fs, number, inode);
    if (!failure)
        ext2fs_inode_alloc_stats2(writer->fs, number, -1, is_directory);
    return failure;
}

long vl_remove_link(struct vl_writer *writer, uint32_t number, int is_directory)
{
    union inode inode;
    errcode_t failure = vl_read_inode(writer->fs, number, &inode);

    if (failure)
        return failure;
    if (!LINUX_S_ISDIR(inode.fields.i_mode) != !is_directory)
        return VL_CODE_KIND;
    if (is_directory || inode.fields.i_links_count <= 1)
        return free_inode(writer, number, &inode, is_directory);
    inode.fields.i_links_count--;
    return vl_write_inode(writer->fs, number, &inode);
}
