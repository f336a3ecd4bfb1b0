/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlines. */
#include "clock.h"

#include <time.h>

long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int until(long long deadline)
{
    long long left = deadline - now();

    return left > 0 ? (int)left : 0;
}
