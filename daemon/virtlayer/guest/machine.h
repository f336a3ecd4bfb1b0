/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Process 1 of a machine, from the kernel's start to power-off. */
#ifndef VIRTLAYER_GUEST_MACHINE_H
#define VIRTLAYER_GUEST_MACHINE_H

void run_machine(void) __attribute__((noreturn));

#endif
