/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network: loopback, and DHCP for IPv4 by busybox. */
#ifndef VIRTLAYER_GUEST_NETWORK_H
#define VIRTLAYER_GUEST_NETWORK_H

#include <net/if.h>
#include <stdbool.h>
#include <sys/types.h>

void start_loopback(void);

/* The name of the first Ethernet interface; false if there is none. */
bool find_interface(char name[IFNAMSIZ]);

/*
 * Start udhcpc.
 *
 * Args: the programs, the directory of names.h where lease.h shall write, what the DHCP server is
 * to know as the hostname ("" for nothing). Returns the process that ends when there is an address,
 * or when there has been none for some seconds and udhcpc goes on in the background; 0 if it could
 * not be started.
 */
pid_t start_dhcp(const char *busybox, const char *init, char *interface, const char *directory,
                 const char *hostname);

/* Wait for that, but not for long. */
void await_dhcp(pid_t process);

#endif
