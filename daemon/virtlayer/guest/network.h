/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network: loopback, and DHCP for IPv4 by busybox. */
#ifndef VIRTLAYER_GUEST_NETWORK_H
#define VIRTLAYER_GUEST_NETWORK_H

#include <stdbool.h>
#include <sys/types.h>

void start_loopback(void);

/*
 * Start udhcpc for the first Ethernet interface. Returns the process that ends when there is an
 * address, or when there has been none for some seconds and udhcpc goes on in the background; 0 if
 * there is no such interface.
 */
pid_t start_dhcp(const char *hostname);

/* Wait for that. */
void await_dhcp(pid_t process);

/* The name of the first Ethernet interface; false if there is none. */
bool find_interface(char *name, size_t size);

#endif
