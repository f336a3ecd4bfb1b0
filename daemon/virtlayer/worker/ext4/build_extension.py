# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles ``_ext2fs``: libext2fs as Python sees it, with what we add to it in C.

cffi in API mode compiles these declarations against the real headers, so a struct that changed its
layout or a function that changed its parameters is an error here and not a crash later.
"""

import subprocess
from pathlib import Path

from cffi import FFI

DECLARATIONS = """
typedef long errcode_t;
typedef int... time_t;
typedef unsigned long long blk64_t;
typedef uint32_t blk_t;
typedef uint32_t ext2_ino_t;
typedef ... *ext2fs_inode_bitmap;
typedef ... *ext2fs_block_bitmap;
typedef ... *io_manager;
typedef ... *io_channel;
typedef ... *ext2_extent_handle_t;
typedef ... *ext2_badblocks_list;
typedef ... *ext2_inode_scan;
struct ext2_xattr_handle;
struct opaque_ext2_group_desc;

struct ext2_super_block {
    uint32_t s_inodes_count;
    uint32_t s_blocks_count;
    uint32_t s_free_inodes_count;
    uint32_t s_first_data_block;
    uint32_t s_log_block_size;
    uint32_t s_blocks_per_group;
    uint32_t s_inodes_per_group;
    uint32_t s_mtime;
    uint32_t s_wtime;
    uint16_t s_state;
    uint16_t s_errors;
    uint32_t s_lastcheck;
    uint32_t s_checkinterval;
    uint32_t s_rev_level;
    uint32_t s_first_ino;
    uint16_t s_inode_size;
    uint32_t s_feature_compat;
    uint32_t s_feature_incompat;
    uint32_t s_feature_ro_compat;
    uint8_t s_uuid[16];
    uint8_t s_volume_name[16];
    uint32_t s_hash_seed[4];
    uint8_t s_def_hash_version;
    uint32_t s_default_mount_opts;
    uint32_t s_mkfs_time;
    uint32_t s_blocks_count_hi;
    uint16_t s_min_extra_isize;
    uint16_t s_want_extra_isize;
    uint32_t s_flags;
    uint8_t s_log_groups_per_flex;
    uint8_t s_checksum_type;
    uint16_t s_desc_size;
    uint16_t s_reserved_gdt_blocks;
    ...;
};

struct struct_ext2_filsys {
    io_channel io;
    int flags;
    struct ext2_super_block *super;
    unsigned int blocksize;
    uint32_t group_desc_count;
    unsigned long desc_blocks;
    struct opaque_ext2_group_desc *group_desc;
    unsigned int inode_blocks_per_group;
    ext2fs_inode_bitmap inode_map;
    ext2fs_block_bitmap block_map;
    time_t now;
    void *priv_data;
    ...;
};
typedef struct struct_ext2_filsys *ext2_filsys;

struct ext2_inode { uint16_t i_mode; ...; };
struct ext2_inode_large { ...; };
struct ext2fs_extent {
    blk64_t e_pblk;
    blk64_t e_lblk;
    uint32_t e_len;
    uint32_t e_flags;
    ...;
};

#define EXT2_FLAG_RW ...
#define EXT2_FLAG_64BITS ...
#define EXT2_FLAG_EXCLUSIVE ...
#define EXT2_FLAG_MASTER_SB_ONLY ...
#define EXT2_FLAG_FLUSH_NO_SYNC ...
#define EXT2_FLAGS_UNSIGNED_HASH ...
#define EXT2_EXTENT_INSERT_AFTER ...
#define EXT2_MKJOURNAL_LAZYINIT ...
#define EXT2_MKJOURNAL_NO_MNT_CHECK ...
#define EXT2_BG_INODE_UNINIT ...
#define EXT2_BG_BLOCK_UNINIT ...
#define EXT2_BG_INODE_ZEROED ...
#define EXT2_ET_BLOCK_ALLOC_FAIL ...
#define EXT2_ET_DIR_NO_SPACE ...
#define EXT2_ET_INODE_ALLOC_FAIL ...
#define EXT2_ET_EA_NO_SPACE ...
#define EXT2_ET_NO_MEMORY ...
#define EXT2_ET_RESIZE_INODE_CORRUPT ...
#define XATTR_ABORT ...

void initialize_ext2_error_table(void);
const char *error_message(errcode_t code);

errcode_t ext2fs_initialize(const char *name, int flags, struct ext2_super_block *param,
                            io_manager manager, ext2_filsys *ret_fs);
errcode_t ext2fs_open(const char *name, int flags, int superblock, unsigned int block_size,
                      io_manager manager, ext2_filsys *ret_fs);
errcode_t ext2fs_read_bitmaps(ext2_filsys fs);
errcode_t ext2fs_flush2(ext2_filsys fs, int flags);
void ext2fs_free(ext2_filsys fs);
void ext2fs_init_csum_seed(ext2_filsys fs);
errcode_t ext2fs_allocate_tables(ext2_filsys fs);
void ext2fs_bg_flags_set(ext2_filsys fs, uint32_t group, uint16_t flags);
void ext2fs_group_desc_csum_set(ext2_filsys fs, uint32_t group);
errcode_t ext2fs_mkdir(ext2_filsys fs, ext2_ino_t parent, ext2_ino_t inum, const char *name);
errcode_t ext2fs_update_bb_inode(ext2_filsys fs, ext2_badblocks_list bb_list);
errcode_t ext2fs_create_resize_inode(ext2_filsys fs);
errcode_t ext2fs_add_journal_inode2(ext2_filsys fs, blk_t num_blocks, blk64_t goal, int flags);
int ext2fs_default_journal_size(uint64_t num_blocks);

errcode_t ext2fs_resize_mem(unsigned long old_size, unsigned long size, void *ptr);
errcode_t ext2fs_resize_inode_bitmap2(uint64_t new_end, uint64_t new_real_end,
                                      ext2fs_inode_bitmap bmap);
errcode_t ext2fs_resize_block_bitmap2(uint64_t new_end, uint64_t new_real_end,
                                      ext2fs_block_bitmap bmap);
void ext2fs_unmark_block_bitmap_range2(ext2fs_block_bitmap bmap, blk64_t block, unsigned int num);
int ext2fs_reserve_super_and_bgd(ext2_filsys fs, uint32_t group, ext2fs_block_bitmap bmap);
errcode_t ext2fs_allocate_group_table(ext2_filsys fs, uint32_t group, ext2fs_block_bitmap bmap);
blk64_t ext2fs_inode_table_loc(ext2_filsys fs, uint32_t group);
uint32_t ext2fs_bg_free_blocks_count(ext2_filsys fs, uint32_t group);
void ext2fs_bg_free_blocks_count_set(ext2_filsys fs, uint32_t group, uint32_t n);
void ext2fs_bg_free_inodes_count_set(ext2_filsys fs, uint32_t group, uint32_t n);
void ext2fs_bg_itable_unused_set(ext2_filsys fs, uint32_t group, uint32_t n);
void ext2fs_free_blocks_count_set(struct ext2_super_block *super, blk64_t blk);
void ext2fs_mark_super_dirty(ext2_filsys fs);
void ext2fs_mark_bb_dirty(ext2_filsys fs);

void ext2fs_mark_ib_dirty(ext2_filsys fs);
blk64_t ext2fs_free_blocks_count(struct ext2_super_block *super);
void ext2fs_r_blocks_count_set(struct ext2_super_block *super, blk64_t blk);
blk64_t ext2fs_blocks_count(struct ext2_super_block *super);
void ext2fs_blocks_count_set(struct ext2_super_block *super, blk64_t blk);

errcode_t ext2fs_find_first_zero_inode_bitmap2(ext2fs_inode_bitmap bitmap, ext2_ino_t start,
                                               ext2_ino_t end, ext2_ino_t *out);
void ext2fs_inode_alloc_stats2(ext2_filsys fs, ext2_ino_t ino, int inuse, int isdir);
errcode_t ext2fs_find_first_zero_block_bitmap2(ext2fs_block_bitmap bitmap, blk64_t start,
                                               blk64_t end, blk64_t *out);
errcode_t ext2fs_find_first_set_block_bitmap2(ext2fs_block_bitmap bitmap, blk64_t start,
                                              blk64_t end, blk64_t *out);
void ext2fs_block_alloc_stats_range(ext2_filsys fs, blk64_t blk, blk_t num, int inuse);

void ext2fs_set_alloc_block_callback(
    ext2_filsys fs, errcode_t (*func)(ext2_filsys fs, blk64_t goal, blk64_t *ret),
    errcode_t (**old)(ext2_filsys fs, blk64_t goal, blk64_t *ret));
extern "Python" errcode_t vl_allocate_block(ext2_filsys fs, blk64_t goal, blk64_t *ret);

errcode_t ext2fs_read_inode_full(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode *inode,
                                 int bufsize);
errcode_t ext2fs_write_inode_full(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode *inode,
                                  int bufsize);
errcode_t ext2fs_open_inode_scan(ext2_filsys fs, int buffer_blocks, ext2_inode_scan *ret_scan);
errcode_t ext2fs_get_next_inode_full(ext2_inode_scan scan, ext2_ino_t *ino,
                                     struct ext2_inode *inode, int bufsize);
void ext2fs_close_inode_scan(ext2_inode_scan scan);
int ext2fs_inode_has_valid_blocks2(ext2_filsys fs, struct ext2_inode *inode);
errcode_t ext2fs_punch(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode *inode, char *block_buf,
                       blk64_t start, blk64_t end);
errcode_t ext2fs_bmap2(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode *inode, char *block_buf,
                       int bmap_flags, blk64_t block, int *ret_flags, blk64_t *phys_blk);
errcode_t ext2fs_free_ext_attr(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode_large *inode);

errcode_t ext2fs_extent_open2(ext2_filsys fs, ext2_ino_t ino, struct ext2_inode *inode,
                              ext2_extent_handle_t *ret_handle);
errcode_t ext2fs_extent_insert(ext2_extent_handle_t handle, int flags,
                               struct ext2fs_extent *extent);
errcode_t ext2fs_extent_fix_parents(ext2_extent_handle_t handle);
void ext2fs_extent_free(ext2_extent_handle_t handle);

errcode_t ext2fs_xattrs_open(ext2_filsys fs, ext2_ino_t ino, struct ext2_xattr_handle **handle);
errcode_t ext2fs_xattrs_read(struct ext2_xattr_handle *handle);
errcode_t ext2fs_xattr_get(struct ext2_xattr_handle *h, const char *key, void **value,
                           size_t *value_len);
errcode_t ext2fs_xattr_set(struct ext2_xattr_handle *handle, const char *key, const void *value,
                           size_t value_len);
errcode_t ext2fs_xattrs_iterate(
    struct ext2_xattr_handle *h,
    int (*func)(char *name, char *value, size_t value_len, void *data), void *data);
extern "Python" int vl_visit_attribute(char *name, char *value, size_t value_len, void *data);
errcode_t ext2fs_free_mem(void *ptr);
errcode_t ext2fs_xattrs_write(struct ext2_xattr_handle *handle);
errcode_t ext2fs_xattrs_close(struct ext2_xattr_handle **handle);

errcode_t io_channel_read_blk64(io_channel channel, unsigned long long block, int count,
                                void *data);
errcode_t io_channel_write_blk64(io_channel channel, unsigned long long block, int count,
                                 const void *data);
errcode_t io_channel_flush(io_channel channel);

extern io_manager vl_nbd_manager;
errcode_t vl_nbd_assume_zeroes(io_channel channel);
errcode_t vl_nbd_leave(io_channel channel);
errcode_t vl_nbd_go_on(io_channel channel, int descriptor);
errcode_t vl_read_bitmaps_ahead(ext2_filsys fs);
errcode_t vl_read_nodes_ahead(ext2_filsys fs, const ext2_ino_t *numbers, size_t count);
errcode_t vl_nbd_write_data(io_channel channel, uint64_t offset, const void *data, size_t length);
errcode_t vl_nbd_write_zeroes(io_channel channel, uint64_t offset, size_t length);

struct vl_room {
    ext2_ino_t inode;
    blk64_t block;
    blk64_t blocks;
};
#define VL_INODE_SIZE ...
errcode_t vl_take_inode(ext2_filsys fs, struct vl_room *room, int is_directory);
errcode_t vl_add_inode(ext2_filsys fs, struct vl_room *room, const void *bytes, int is_directory);
errcode_t vl_add_file(ext2_filsys fs, struct vl_room *room, const void *bytes, const void *data,
                      uint64_t length);

struct vl_listing {
    ext2_ino_t parent;
    char *names;
    size_t length;
    uint64_t *values;
    size_t count;
    ...;
};
errcode_t vl_read_directory(ext2_filsys fs, ext2_ino_t number, struct vl_listing *listing);
void vl_forget_listing(struct vl_listing *listing);
errcode_t vl_write_directory(ext2_filsys fs, struct vl_room *room, ext2_ino_t number,
                             ext2_ino_t parent, const char *names, size_t length,
                             const uint64_t *values, size_t count, blk64_t *blocks);
"""

HERE = Path(__file__).parent
_SOURCES = (
    *("ahead", "directories", "directory_blocks", "directory_listing", "directory_tree"),
    *("nbd_ahead", "nbd_io", "nbd_pages", "nbd_runs", "nbd_server", "nodes"),
)
_HEADERS = ("ahead", "directories", "directory_writing", "nbd_device", "nbd_io", "nodes")


def _pkg_config(flag: str) -> list[str]:
    command = ["/usr/bin/env", "pkg-config", flag, "ext2fs", "com_err", "libnbd"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "virtlayer.worker.ext4._ext2fs",
    '#include "ahead.h"\n#include "directories.h"\n#include "nbd_io.h"\n#include "nodes.h"',
    # Relative, as setuptools wants the sources of an extension.
    sources=[f"daemon/virtlayer/worker/ext4/{part}.c" for part in _SOURCES],
    include_dirs=[str(HERE)],
    depends=[str(HERE / f"{part}.h") for part in _HEADERS],
    extra_compile_args=[
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        *_pkg_config("--cflags"),
    ],
    extra_link_args=_pkg_config("--libs"),
)
