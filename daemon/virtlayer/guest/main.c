/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The init of machines, and of containers of libvirt-LXC. It is a static program; how it is called
 * decides what it does:
 *
 *     /init                                process 1 of a machine, in our initrd
 *     /dhcp EVENT                          called by udhcpc, in our initrd
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease.h"
#include "machine.h"

int main(int count, char **arguments)
{
    if (count == 2 && !strcmp(arguments[0], LEASE_SCRIPT))
        return apply_lease(arguments[1]);
    /* A program of the image can see this file, and call it. */
    if (getpid() != 1)
        return EXIT_FAILURE;
    run_machine();
}
