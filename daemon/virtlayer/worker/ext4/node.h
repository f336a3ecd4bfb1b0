/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes of an ext4, as Python and C exchange them. Times are whole seconds and nanoseconds. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define VL_ROOT 2
#define VL_BLOCK_SIZE 4096
#define VL_LINK_LIMIT 65000     /* names that a file can have */
#define VL_IDENTITY_SIZE 32

/* The kinds, with the numbers that ext4's directory entries have for them. */
enum vl_kind {
    VL_REGULAR = 1,
    VL_DIRECTORY,
    VL_CHARACTER_DEVICE,
    VL_BLOCK_DEVICE,
    VL_FIFO,
    VL_SOCKET,
    VL_SYMLINK
};

struct vl_node {
    uint32_t number;            /* of its inode; not used for a new one */
    uint32_t kind;
    uint32_t mode;              /* permissions, setuid, setgid and sticky bits */
    uint32_t uid;
    uint32_t gid;
    uint32_t major;             /* of a device: 12 bits */
    uint32_t minor;             /* of a device: 20 bits */
    int64_t seconds;            /* every time of a new node, the mtime of one that is read: 34 bits */
    uint32_t nanoseconds;
    uint64_t size;              /* in bytes; not used for a new one */
    int has_attributes;         /* whether there may be extended attributes; not used for a new one
    */
};

/* A stretch of data in a file, in bytes. */
struct vl_segment {
    uint64_t offset;
    uint64_t length;
};

/* An extended attribute: its full name, and its value as setxattr(2) takes it. */
struct vl_attribute {
    const char *name;
    const void *value;
    size_t length;
};

struct vl_attributes {
    struct vl_attribute *all;
    size_t count;
};

/* The names of a directory but "." and "..", and what they lead to. */
struct vl_listing {
    uint32_t parent;            /* what ".." leads to */
    char *names;                /* each with a "/" behind it */
    size_t length;              /* of all of them together */
    uint64_t *values;           /* inode << 3 | kind, one a name */
    size_t count;
    size_t names_room;          /* for the listing itself */
    size_t values_room;
};

/* What a file system has, and has left. */
struct vl_space {
    uint64_t size;              /* in bytes */
    uint64_t free_bytes;
    uint32_t free_inodes;
};
