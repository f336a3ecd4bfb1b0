/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An io_manager for libext2fs whose device is an NBD export. See nbd_io.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <ext2fs/ext2fs.h>

/* The names of its devices, for snprintf(3): a descriptor that is connected to an NBD server, which
 * stays the caller's to close, and the milliseconds in which the server must make progress. */
#define VL_NBD_NAME "%d,%d"
extern io_manager vl_nbd_manager;

/* The bytes of the export. */
uint64_t vl_nbd_size(io_channel channel);

/* Says, before the first write, that the whole export reads as zeroes: it is not read to know it. */
errcode_t vl_nbd_assume_zeroes(io_channel channel);

/* Ends the connection to a server that has everything (ext2fs_flush), and keeps the cache. */
errcode_t vl_nbd_leave(io_channel channel);

/* Goes on with another server, whose export has the size and the bytes of the one that was left;
 * takes the descriptor over. */
errcode_t vl_nbd_go_on(io_channel channel, int descriptor);

/* Reads the blocks that will be asked for, all of them at once; puts them in order. */
errcode_t vl_nbd_read_ahead(io_channel channel, blk64_t *blocks, size_t count);

/* File data goes around the cache. Bytes that follow the previous call's bytes join their run. */
errcode_t vl_nbd_write_data(io_channel channel, uint64_t offset, const void *data, size_t length);

/* The same for zeroes: the rest of a file's last block, the gaps between pieces of a sparse file. */
errcode_t vl_nbd_write_zeroes(io_channel channel, uint64_t offset, size_t length);
