/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Refuses system calls in a program that is started next (seccomp(2)), where this architecture is
 * known. no_new_privs must be set.
 *
 * The rules are instructions of classic BPF that find the number of the call in the accumulator, and
 * go on behind their end where they refuse nothing.
 */

#ifndef VL_CALL_FILTER_H
#define VL_CALL_FILTER_H

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define VL_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define VL_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define VL_ARCHITECTURE 0
#endif

#define VL_LOAD(field) \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned int)offsetof(struct seccomp_data, field))
#define VL_REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
/* Skip the next instructions unless the accumulator has a value. */
#define VL_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))

enum { VL_MOST_RULES = 16 };

static int refuse_calls(const struct sock_filter *rules, size_t count)
{
    const struct sock_filter before[] = {
        VL_LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, VL_ARCHITECTURE, 1, 0),
        VL_REFUSE(EPERM), /* a call of another architecture, which has other numbers */
        VL_LOAD(nr),
        /* On x86-64, those of x32; elsewhere there are none. */
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
        VL_REFUSE(EPERM),
    };
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const size_t first = sizeof(before) / sizeof(*before);
    struct sock_filter all[sizeof(before) / sizeof(*before) + VL_MOST_RULES + 1];
    struct sock_fprog program = { .len = (unsigned short)(first + count + 1), .filter = all };

    if (VL_ARCHITECTURE == 0)
        return 0;
    if (count > VL_MOST_RULES) {
        errno = E2BIG;
        return -1;
    }
    memcpy(all, before, sizeof(before));
    memcpy(all + first, rules, count * sizeof(*rules));
    all[first + count] = allow;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

#endif
