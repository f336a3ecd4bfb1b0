/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The codes that the writer's functions return: those of errno, of libext2fs, and ours. */
#pragma once

/* What a caller can tell apart. */
enum vl_meaning {
    VL_OTHER_ERROR,             /* libext2fs or the server failed; vl_message_of() says how */
    VL_NO_MEMORY,
    VL_FILESYSTEM_FULL,         /* no free block or inode is left */
    VL_DEVICE_FULL,             /* the server could not store a write */
    VL_SERVER_HANGS,            /* it made no progress until the deadline */
    VL_FOREIGN_FILESYSTEM,      /* it is not one that vl_format() has made */
    VL_ATTRIBUTES_TOO_LARGE,    /* they do not fit beside the inode and into one block */
    VL_DIRECTORY_TOO_LARGE,     /* more names than a hash tree of two levels can find */
    VL_TOO_MANY_LINKS,          /* the file has VL_LINK_LIMIT names */
    VL_CANNOT_GROW              /* there is no room for so many group descriptors */
};

enum vl_meaning vl_meaning_of(long code);

const char *vl_message_of(long code);
