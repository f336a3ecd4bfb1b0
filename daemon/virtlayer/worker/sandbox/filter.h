/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A list of the system calls that this process may make. See filter.c. */
#pragma once

#include <stdint.h>

struct vl_filter;

/* A condition on an argument of a call: (argument & mask) == value. */
struct vl_condition {
    unsigned int argument;
    uint64_t mask;
    uint64_t value;
};

/* Begins a filter that refuses every call with EPERM. NULL: there is no memory. */
struct vl_filter *vl_filter_new(void);

/* Allows a call if all the conditions hold. Returns 0 or a negative errno: -ENOENT if the call is
 * unknown. A call that this machine's architecture does not have is passed over. */
int vl_filter_allow(struct vl_filter *filter, const char *call,
                    const struct vl_condition *conditions, unsigned int count);

/* Has a call fail with another errno than EPERM. Returns as vl_filter_allow(). */
int vl_filter_refuse(struct vl_filter *filter, const char *call, int code);

/* Applies the filter to this process permanently. Returns 0 or a negative errno. */
int vl_filter_load(struct vl_filter *filter);

void vl_filter_free(struct vl_filter *filter);
