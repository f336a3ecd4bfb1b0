/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The power button, which can be any of the input devices. */
#ifndef VIRTLAYER_GUEST_BUTTONS_H
#define VIRTLAYER_GUEST_BUTTONS_H

#include <stddef.h>

enum { MOST_BUTTONS = 8 };

/* Open the devices that have a power key; returns how many. */
size_t open_buttons(int buttons[MOST_BUTTONS]);

/* How often it has been pressed since the last call. */
int count_presses(int button);

#endif
