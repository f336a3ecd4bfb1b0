/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The counts of very large file systems, without the gigabytes that formatting one writes.
 *
 * What is formatted at these sizes was checked with e2fsck by hand: 16, 17, 33 and 63 TiB.
 */
#include "geometry.c"

#include <string.h>

#include "expect.h"

#define TIB (UINT64_C(1) << 40)

int main(void)
{
    static const uint64_t sizes[] = {16 * TIB, 17 * TIB, 63 * TIB, 64 * TIB - BYTES_PER_INODE};
    struct ext2_super_block super;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        memset(&super, 0, sizeof(super));
        EXPECT(vl_set_geometry(&super, sizes[i]) == 0);
        EXPECT(ext2fs_blocks_count(&super) == sizes[i] / VL_BLOCK_SIZE);
        EXPECT(ext2fs_r_blocks_count(&super) == sizes[i] / VL_BLOCK_SIZE / 100);
        EXPECT(super.s_inodes_count == sizes[i] / 16384);
    }
    memset(&super, 0, sizeof(super));
    EXPECT(vl_set_geometry(&super, 64 * TIB) == EXT2_ET_TOO_MANY_INODES);
    return 0;
}
