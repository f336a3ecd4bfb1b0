/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a test in C checks with. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)
