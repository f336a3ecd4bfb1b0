/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters of system calls, by libseccomp, which knows the numbers of the calls on every
 * architecture. Its own Python binding is not on PyPI, and packages with similar names load the
 * library at run time, without its header.
 */
#include "filter.h"

#include <errno.h>
#include <seccomp.h>

enum { MOST_CONDITIONS = 6 }; /* as many as a call has arguments */

static scmp_filter_ctx context_of(struct vl_filter *filter)
{
    return filter;
}

static int add(struct vl_filter *filter, uint32_t action, const char *call, unsigned int count,
               const struct scmp_arg_cmp *comparisons)
{
    int number = seccomp_syscall_resolve_name(call);

    if (number == __NR_SCMP_ERROR)
        return -ENOENT;
    return seccomp_rule_add_array(context_of(filter), action, number, count, comparisons);
}

struct vl_filter *vl_filter_new(void)
{
    return seccomp_init(SCMP_ACT_ERRNO(EPERM));
}

int vl_filter_allow(struct vl_filter *filter, const char *call,
                    const struct vl_condition *conditions, unsigned int count)
{
    struct scmp_arg_cmp comparisons[MOST_CONDITIONS];

    if (count > MOST_CONDITIONS)
        return -EINVAL;
    for (unsigned int i = 0; i < count; i++)
        comparisons[i] = (struct scmp_arg_cmp){
            .arg = conditions[i].argument,
            .op = SCMP_CMP_MASKED_EQ,
            .datum_a = conditions[i].mask,
            .datum_b = conditions[i].value,
        };
    return add(filter, SCMP_ACT_ALLOW, call, count, comparisons);
}

int vl_filter_refuse(struct vl_filter *filter, const char *call, int code)
{
    return add(filter, SCMP_ACT_ERRNO((uint16_t)code), call, 0, NULL);
}

int vl_filter_load(struct vl_filter *filter)
{
    return seccomp_load(context_of(filter));
}

void vl_filter_free(struct vl_filter *filter)
{
    seccomp_release(context_of(filter));
}
