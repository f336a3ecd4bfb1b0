/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The init of machines, and of containers of libvirt-LXC. It is a static program; how it is called
 * decides what it does:
 *
 *     /init                                                process 1 of a machine, in our initrd
 *     init --container CONFIGURATION OUTPUT [BUSYBOX]      process 1 of a container
 *     DIRECTORY/dhcp EVENT                                 called by udhcpc
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container.h"
#include "lease.h"
#include "machine.h"

static int run_script(char *path, const char *event)
{
    char *slash = strrchr(path, '/');

    *slash = '\0';
    return apply_lease(path, event);
}

int main(int count, char **arguments)
{
    const char *slash = count ? strrchr(arguments[0], '/') : NULL;

    if (count == 2 && slash && !strcmp(slash + 1, LEASE_SCRIPT))
        return run_script(arguments[0], arguments[1]);
    /* A program of the image can see this file, and call it. */
    if (getpid() != 1) {
        fputs("This program is process 1 of machines that virtlayer makes.\n", stderr);
        return EXIT_FAILURE;
    }
    if (count >= 4 && !strcmp(arguments[1], "--container"))
        return run_container(&(struct container){.init = arguments[0],
                                                 .configuration = arguments[2],
                                                 .output = arguments[3],
                                                 .busybox = arguments[4]});
    run_machine();
}
