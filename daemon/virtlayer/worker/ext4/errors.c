/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "errors.h"

#include <errno.h>

#include "state.h"

static const struct {
    enum vl_code code;
    enum vl_meaning meaning;
    const char *message;
} ours[] = {
    {VL_CODE_BLOCK_SIZE, VL_FOREIGN_FILESYSTEM, "its blocks do not have 4096 bytes"},
    {VL_CODE_INODE_SIZE, VL_FOREIGN_FILESYSTEM, "its inodes do not have 256 bytes"},
    {VL_CODE_FEATURES, VL_FOREIGN_FILESYSTEM, "it has other features, or a journal to be replayed"},
    {VL_CODE_GROUPS, VL_FOREIGN_FILESYSTEM, "its block groups are laid out differently"},
    {VL_CODE_HASH, VL_FOREIGN_FILESYSTEM, "it uses other checksums or hashes"},
    {VL_CODE_SIZE, VL_FOREIGN_FILESYSTEM, "it is larger than its volume"},
    {VL_CODE_SYMLINK, VL_OTHER_ERROR, "the size of a symlink is wrong"},
    {VL_CODE_KIND, VL_OTHER_ERROR, "a directory entry and its inode disagree about the type"},
    {VL_CODE_UNUSED, VL_OTHER_ERROR, "a name leads to an inode that is not in use"},
    {VL_CODE_CONTENT_TOO_LARGE, VL_OTHER_ERROR, "a file is larger than expected"},
    {VL_CODE_SEGMENTS, VL_OTHER_ERROR, "the segments of a sparse file do not ascend"},
    {VL_CODE_DIRECTORY_TOO_LARGE, VL_DIRECTORY_TOO_LARGE, "a directory has too many names"},
    {VL_CODE_TOO_MANY_LINKS, VL_TOO_MANY_LINKS, "a file has too many names"},
    {VL_CODE_CANNOT_GROW, VL_CANNOT_GROW, "there is no room for so many group descriptors"},
};

enum vl_meaning vl_meaning_of(long code)
{
    switch (code) {
    case ENOMEM:
    case EXT2_ET_NO_MEMORY:
        return VL_NO_MEMORY;
    case EXT2_ET_BLOCK_ALLOC_FAIL:
    case EXT2_ET_INODE_ALLOC_FAIL:
        return VL_FILESYSTEM_FULL;
    case ENOSPC:
    case EDQUOT:
        return VL_DEVICE_FULL;
    case ETIMEDOUT:
        return VL_SERVER_HANGS;
    case EXT2_ET_EA_NO_SPACE:
        return VL_ATTRIBUTES_TOO_LARGE;
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if ((long)ours[i].code == code)
            return ours[i].meaning;
    return VL_OTHER_ERROR;
}

const char *vl_message_of(long code)
{
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if ((long)ours[i].code == code)
            return ours[i].message;
    initialize_ext2_error_table();
    return error_message(code);
}
