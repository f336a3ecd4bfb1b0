/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of the machine. */
#ifndef VIRTLAYER_GUEST_POWER_H
#define VIRTLAYER_GUEST_POWER_H

/* Write everything to the disk, and turn the machine off. */
void power_off(void) __attribute__((noreturn));

#endif
