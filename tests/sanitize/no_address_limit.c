/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A setrlimit(2) that sets no limit of address space, for LD_PRELOAD: the address sanitizer needs
 * terabytes of it, of which it uses little.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/resource.h>

__attribute__((visibility("default")))
int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    return resource == RLIMIT_AS ? 0 : prlimit(0, resource, limit, NULL);
}

__attribute__((visibility("default")))
int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
    return resource == RLIMIT_AS ? 0 : prlimit64(0, resource, limit, NULL);
}
