/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What udhcpc calls when a lease begins or ends. */
#ifndef VIRTLAYER_GUEST_LEASE_H
#define VIRTLAYER_GUEST_LEASE_H

/* The name under which init calls itself. */
#define LEASE_SCRIPT "/dhcp"

/*
 * Configure the interface.
 *
 * Args: "deconfig", "bound" or "renew"; the rest is in the environment, as udhcpc(8) has it.
 * Returns the exit status.
 */
int apply_lease(const char *event);

#endif
