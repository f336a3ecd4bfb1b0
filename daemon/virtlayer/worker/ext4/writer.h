/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The writer of an ext4 behind an NBD connection: its whole interface for Python.
 *
 * Functions that return a long return 0, or a code that errors.h explains. After an error a writer
 * can still be asked for its space, and closed; what it had to write is incomplete. Deadlines are
 * milliseconds in which the server must make progress. A descriptor that is passed is closed, also
 * on failure. One thread uses a writer.
 */
#pragma once

#include "node.h"

struct vl_writer;

/* ---- the file system ---- */

/* Makes an empty file system of that many bytes on a new volume, which reads as zeroes. The
 * identity, VL_IDENTITY_SIZE bytes, decides the UUID. */
long vl_format(int descriptor, int deadline, uint64_t size, const unsigned char *identity,
               struct vl_writer **writer);

/* Opens a file system that vl_format() has made. */
long vl_open(int descriptor, int deadline, struct vl_writer **writer);

/* Frees the writer. What vl_flush() has not written is lost. */
void vl_close(struct vl_writer *writer);

/* Writes what is still in memory, and waits until the server has flushed it. */
long vl_flush(struct vl_writer *writer);

/* Ends the connection, after vl_flush(); everything but vl_go_on() fails then. */
long vl_leave(struct vl_writer *writer);

/* Continues on another volume, whose size and bytes are those of the one that was left. */
long vl_go_on(struct vl_writer *writer, int descriptor);

/* Grows the file system to the size of its device, before anything else is done; it is not flushed.
 * Up to 8 MiB at the end stay unused where they would not make a group. If it cannot become
 * so large, *limit is the largest size in bytes. */
long vl_grow(struct vl_writer *writer, uint64_t size, uint64_t *limit);

void vl_measure(struct vl_writer *writer, struct vl_space *space);

/* Reads inodes that will be asked for, and the blocks of those that are directories. */
long vl_read_ahead(struct vl_writer *writer, const uint32_t *numbers, size_t count);

/* ---- nodes ---- */

/* Adds a node without a name: a regular file with all of its content, a symlink with its target,
 * or a node of another kind without content. */
long vl_add_node(struct vl_writer *writer, const struct vl_node *node, const void *content,
                 size_t length, uint32_t *number);

/* Adds a regular file whose content follows by vl_write_file(), in segments that ascend. */
long vl_add_file(struct vl_writer *writer, const struct vl_node *node, uint64_t size,
                 const struct vl_segment *segments, size_t count, uint32_t *number);

/* Writes the next bytes of the segments of the file that was added last. */
long vl_write_file(struct vl_writer *writer, const void *data, size_t length);

long vl_read_node(struct vl_writer *writer, uint32_t number, struct vl_node *node);

/* Reads the node that follows node->number in the inode tables and is in use: number 0 begins, and
 * stands for the end. Nodes that only ext4 itself knows are left out. */
long vl_next_node(struct vl_writer *writer, struct vl_node *node);

/* Reads a file's content or a symlink's target. If it has more bytes than there is room for, it is
 * an error. */
long vl_read_content(struct vl_writer *writer, uint32_t number, void *content, size_t room,
                     size_t *length);

/* Reads the part of a file that begins at an offset, which is that of a block: as much as there is
 * room for, or up to the end of the file. */
long vl_read_part(struct vl_writer *writer, uint32_t number, uint64_t offset, void *content,
                  size_t room, size_t *length);

/* Replaces permissions, owner, times and extended attributes of node->number. */
long vl_set_metadata(struct vl_writer *writer, const struct vl_node *node,
                     const struct vl_attribute *attributes, size_t count);

/* Replaces the owner of node->number and nothing else: chown(2) would clear setuid bits. */
long vl_set_owner(struct vl_writer *writer, const struct vl_node *node);

/* Counts one more name of a node. */
long vl_add_link(struct vl_writer *writer, uint32_t number);

/* Counts one name less, and frees the node with the last one. A directory has a single name. */
long vl_remove_link(struct vl_writer *writer, uint32_t number, int is_directory);

/* Gives a node these extended attributes and no others. */
long vl_write_attributes(struct vl_writer *writer, uint32_t number,
                         const struct vl_attribute *attributes, size_t count);

/* Reads all extended attributes. vl_forget_attributes() frees them, unless there was an error. */
long vl_read_attributes(struct vl_writer *writer, uint32_t number,
                        struct vl_attributes *attributes);

void vl_forget_attributes(struct vl_attributes *attributes);

/* ---- directories ---- */

/* Reads a directory. vl_forget_listing() frees the listing, unless there was an error. */
long vl_read_directory(struct vl_writer *writer, uint32_t number, struct vl_listing *listing);

/* Appends to a listing what a block of a directory says, which begins zeroed. */
long vl_list_block(struct vl_listing *listing, const char *block, size_t size);

void vl_forget_listing(struct vl_listing *listing);

/* Writes the inode and the blocks of a directory whose names stand in one string, with a "/"
 * between them. One block is a list; more are a hash tree, as the kernel has them from the second
 * block on. */
long vl_write_directory(struct vl_writer *writer, uint32_t number, uint32_t parent,
                        const char *names, size_t length, const uint64_t *values, size_t count);
