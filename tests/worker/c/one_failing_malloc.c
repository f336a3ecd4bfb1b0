/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A malloc(3) of which one call fails, for LD_PRELOAD: what a limit of memory does at a bad moment. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static long calls_left = -1;

/* Has the call after so many others fail; -1 for none. How many are left of those before. */
__attribute__((visibility("default"))) long fail_after(long calls)
{
    long left = calls_left;

    calls_left = calls;
    return left;
}

static bool fails(void)
{
    if (calls_left < 0 || calls_left-- > 0)
        return false;
    errno = ENOMEM;
    return true;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}
