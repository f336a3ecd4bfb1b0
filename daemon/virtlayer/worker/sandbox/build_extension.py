# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles ``_seccomp``: what a filter needs of libseccomp, and system calls that Python has not.

libseccomp's own Python binding is not on PyPI, and what is there under similar names loads the
library at run time, without its header.
"""

import subprocess

from cffi import FFI

DECLARATIONS = """
typedef ... *scmp_filter_ctx;

enum scmp_compare { SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ, ... };
struct scmp_arg_cmp {
    unsigned int arg;
    enum scmp_compare op;
    uint64_t datum_a;
    uint64_t datum_b;
};

#define SCMP_ACT_ALLOW ...
uint32_t vl_errno_action(uint16_t code);
int vl_no_such_call(void);
int vl_die_with_parent(void);
void vl_keep_freed_memory(int bytes);
int vl_keep_capabilities(uint64_t kept);
int vl_landlock_version(void);
int vl_landlock(uint64_t refused, int directory, uint64_t allowed_in_it);

scmp_filter_ctx seccomp_init(uint32_t default_action);
void seccomp_release(scmp_filter_ctx context);
int seccomp_load(scmp_filter_ctx context);
int seccomp_syscall_resolve_name(const char *name);
int seccomp_rule_add_array(scmp_filter_ctx context, uint32_t action, int syscall,
                           unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array);
"""

SOURCE = """
#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t vl_errno_action(uint16_t code)
{
    return SCMP_ACT_ERRNO(code);
}

static int vl_no_such_call(void)
{
    return __NR_SCMP_ERROR;
}

static int vl_die_with_parent(void)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Have malloc(3) make blocks of up to so many bytes from what was freed before, and give back only
 * what goes beyond twice as many. Where malloc cannot be told, it is only slower. */
static void vl_keep_freed_memory(int bytes)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, bytes);
    mallopt(M_TRIM_THRESHOLD, 2 * bytes);
#endif
}

/* Give up all capabilities but those of the mask (capset(2), which has no wrapper in libc). */
static int vl_keep_capabilities(uint64_t kept)
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

/* The version of Landlock that the kernel has, or -1. */
static int vl_landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* Refuse kinds of access for ever, but for some of them below a directory (-1 for none). */
static int vl_landlock(uint64_t refused, int directory, uint64_t allowed_in_it)
{
    struct landlock_ruleset_attr rules = { .handled_access_fs = refused };
    struct landlock_path_beneath_attr below = {
        .allowed_access = allowed_in_it,
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
"""


def _pkg_config(flag: str) -> list[str]:
    command = ["/usr/bin/env", "pkg-config", flag, "libseccomp"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "virtlayer.worker.sandbox._seccomp",
    SOURCE,
    extra_compile_args=[
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        *_pkg_config("--cflags"),
    ],
    extra_link_args=_pkg_config("--libs"),
)
