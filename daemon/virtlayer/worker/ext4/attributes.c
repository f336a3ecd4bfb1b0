/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended attributes, in the inode or in one block (ext4(5), "Extended Attributes"). */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (VL_BLOCK_SIZE + INODE_SIZE) /* more than an inode and its one block could hold */

/* libext2fs looks at all attributes for each of them: too many are not for it to find out. */
static errcode_t check_size(const struct vl_attribute *attributes, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(attributes[i].name);

        if (attributes[i].length > ROOM || name > ROOM)
            return EXT2_ET_EA_NO_SPACE;
        size += name + attributes[i].length;
        if (size > ROOM)
            return EXT2_ET_EA_NO_SPACE;
    }
    return 0;
}

long vl_write_attributes(struct vl_writer *writer, uint32_t number,
                         const struct vl_attribute *attributes, size_t count)
{
    struct ext2_xattr_handle *handle;
    errcode_t failure = check_size(attributes, count);

    /* Not read first: an empty handle replaces everything. */
    if (!failure)
        failure = ext2fs_xattrs_open(writer->fs, number, &handle);
    if (failure)
        return failure;
    for (size_t i = 0; i < count && !failure; i++)
        failure = ext2fs_xattr_set(handle, attributes[i].name, attributes[i].value,
                                   attributes[i].length);
    if (!failure)
        failure = ext2fs_xattrs_write(handle);
    ext2fs_xattrs_close(&handle);
    return failure;
}

/* ---- reading ---- */

struct visit {
    struct ext2_xattr_handle *handle;
    struct vl_attributes *attributes;
    size_t room;
    errcode_t failure;
};

static void *memdup(const void *bytes, size_t length)
{
    void *copy = malloc(length + 1); /* of no bytes, too */

    return copy && length ? memcpy(copy, bytes, length) : copy;
}

/* Copies name and value to the end of the array, which has room for them. */
static errcode_t keep(struct vl_attributes *attributes, const char *name, const void *value,
                      size_t length)
{
    struct vl_attribute *attribute = &attributes->all[attributes->count];

    attribute->name = strdup(name);
    attribute->value = memdup(value, length);
    attribute->length = length;
    attributes->count++;
    return attribute->name && attribute->value ? 0 : ENOMEM;
}

static errcode_t add(struct visit *visit, const char *name)
{
    struct vl_attributes *attributes = visit->attributes;
    void *value;
    size_t length;
    /* Asked for by its name: iterating gives access control lists as the disk has them. */
    errcode_t failure = ext2fs_xattr_get(visit->handle, name, &value, &length);

    if (failure)
        return failure;
    failure = vl_make_room(&attributes->all, &visit->room, attributes->count + 1,
                           sizeof(*attributes->all));
    if (!failure)
        failure = keep(attributes, name, value, length);
    ext2fs_free_mem(&value);
    return failure;
}

static int visit_attribute(char *name, char *value, size_t length, void *data)
{
    struct visit *visit = data;

    (void)value;
    (void)length;
    /* ext2fs_xattrs_iterate does not return why it was ended. */
    visit->failure = add(visit, name);
    return visit->failure ? XATTR_ABORT : 0;
}

static errcode_t read_all(struct ext2_xattr_handle *handle, struct vl_attributes *attributes)
{
    struct visit visit = {.handle = handle, .attributes = attributes};
    errcode_t failure = ext2fs_xattrs_read(handle);

    if (!failure)
        failure = ext2fs_xattrs_iterate(handle, visit_attribute, &visit);
    return visit.failure ? visit.failure : failure;
}

long vl_read_attributes(struct vl_writer *writer, uint32_t number,
                        struct vl_attributes *attributes)
{
    struct ext2_xattr_handle *handle;
    errcode_t failure;

    memset(attributes, 0, sizeof(*attributes));
    failure = ext2fs_xattrs_open(writer->fs, number, &handle);
    if (failure)
        return failure;
    failure = read_all(handle, attributes);
    ext2fs_xattrs_close(&handle);
    if (failure)
        vl_forget_attributes(attributes);
    return failure;
}

void vl_forget_attributes(struct vl_attributes *attributes)
{
    for (size_t i = 0; i < attributes->count; i++) {
        free((void *)attributes->all[i].name);
        free((void *)attributes->all[i].value);
    }
    free(attributes->all);
    memset(attributes, 0, sizeof(*attributes));
}
