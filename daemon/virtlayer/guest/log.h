/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of init: lines of the kernel's log, so that they are in order with the kernel's own. */
#ifndef VIRTLAYER_GUEST_LOG_H
#define VIRTLAYER_GUEST_LOG_H

/* Something that the user can want to know; shown on the console unless it is to be quiet. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A fault; shown on the console in any case. */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
