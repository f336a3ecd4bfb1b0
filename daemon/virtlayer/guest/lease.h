/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What udhcpc calls when a lease begins or ends. */
#ifndef VIRTLAYER_GUEST_LEASE_H
#define VIRTLAYER_GUEST_LEASE_H

/* The name under which udhcpc calls init, in a directory of names.h. */
#define LEASE_SCRIPT "dhcp"

/*
 * Configure the interface, and write the files.
 *
 * Args: the directory of names.h; "deconfig", "bound" or "renew". The rest is in the environment,
 * as udhcpc(8) has it. Returns the exit status.
 */
int apply_lease(const char *directory, const char *event);

#endif
