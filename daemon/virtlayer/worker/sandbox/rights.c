/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* prctl(2), capset(2) and landlock(7), of which the last two have no wrappers in libc. */
#define _GNU_SOURCE
#include "rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int vl_die_with_parent(void)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int vl_keep_capabilities(uint64_t kept)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data) != 0)
        return -1;
    for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++) {
        data[half].permitted &= (uint32_t)(kept >> (32 * half));
        data[half].effective = data[half].permitted;
        data[half].inheritable = 0;
    }
    return (int)syscall(SYS_capset, &header, data);
}

int vl_landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int vl_landlock(uint64_t refused, int directory, uint64_t allowed_below)
{
    struct landlock_ruleset_attr rules = { .handled_access_fs = refused };
    struct landlock_path_beneath_attr below = {
        .allowed_access = allowed_below,
        .parent_fd = directory,
    };
    int ruleset, result = 0, code;

    ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules.handled_access_fs), 0);
    if (ruleset < 0)
        return -1;
    if (directory >= 0)
        result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
                              &below, 0);
    if (result == 0)
        result = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    code = errno;
    close(ruleset);
    errno = code;
    return result;
}
