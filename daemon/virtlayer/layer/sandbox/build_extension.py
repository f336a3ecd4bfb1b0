# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles ``_seccomp``: the few functions of libseccomp that a filter needs, and one prctl(2).

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

scmp_filter_ctx seccomp_init(uint32_t default_action);
void seccomp_release(scmp_filter_ctx context);
int seccomp_load(scmp_filter_ctx context);
int seccomp_syscall_resolve_name(const char *name);
int seccomp_rule_add_array(scmp_filter_ctx context, uint32_t action, int syscall,
                           unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array);
"""

SOURCE = """
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>

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
"""


def _pkg_config(flag: str) -> list[str]:
    command = ["/usr/bin/env", "pkg-config", flag, "libseccomp"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "virtlayer.layer.sandbox._seccomp",
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
