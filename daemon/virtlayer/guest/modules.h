/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's modules in the initrd. */
#ifndef VIRTLAYER_GUEST_MODULES_H
#define VIRTLAYER_GUEST_MODULES_H

/*
 * Load the modules that a file names, one path a line, each after those that it needs, and delete
 * them: they are in memory. A module that cannot be loaded is reported; the machine may not need it.
 */
void load_modules(const char *list);

#endif
