/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlines. */
#ifndef VIRTLAYER_GUEST_CLOCK_H
#define VIRTLAYER_GUEST_CLOCK_H

/* Milliseconds of a clock that only goes forward. */
long long now(void);

/* How long it is until then, as poll(2) wants it; 0 if it is past. */
int until(long long deadline);

#endif
