/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rights that this process gives up, by system calls that Python does not have. See rights.c. */
#pragma once

#include <stdint.h>

/* All of these return -1 and set errno if the kernel refuses. */

/* Asks for SIGKILL when the parent ends. */
int vl_die_with_parent(void);

/* Gives up all capabilities but those of the mask. */
int vl_keep_capabilities(uint64_t kept);

/* The version of Landlock that the kernel has. */
int vl_landlock_version(void);

/* Refuses kinds of access to files permanently, except for some of them below a directory; a
descriptor of
 * -1 stands for no directory. */
int vl_landlock(uint64_t refused, int directory, uint64_t allowed_below);
