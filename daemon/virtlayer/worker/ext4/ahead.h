/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Metadata that is read before it is asked for. See ahead.c. */
#pragma once

#include <stddef.h>
#include <ext2fs/ext2fs.h>

/* Reads what ext2fs_read_bitmaps will read. */
errcode_t vl_read_bitmaps_ahead(ext2_filsys fs);

/* Reads inodes, and the blocks of those that are directories. */
errcode_t vl_read_nodes_ahead(ext2_filsys fs, const ext2_ino_t *numbers, size_t count);
