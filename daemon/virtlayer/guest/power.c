/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of the machine. */
#include "power.h"

#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

void power_off(void)
{
    sync();
    /* So that the next boot has no journal to replay. It fails if the kernel still writes there. */
    mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    sync();
    reboot(RB_POWER_OFF);
    exit(EXIT_FAILURE); /* the kernel panics then, and ends the machine */
}
