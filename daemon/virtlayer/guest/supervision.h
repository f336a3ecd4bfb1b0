/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* While the entrypoint runs, and until everything of it is written. */
#ifndef VIRTLAYER_GUEST_SUPERVISION_H
#define VIRTLAYER_GUEST_SUPERVISION_H

#include "buttons.h"
#include "configuration.h"
#include "entrypoint.h"
#include "input.h"
#include "output.h"

struct supervision {
    int signals; /* a signalfd(2) with SIGCHLD and SIGTERM */
    int stop_signal;
    int buttons[MOST_BUTTONS];
    size_t button_count;
    struct entrypoint *entrypoint;
    struct input *input;
    struct output *output;
    int console; /* of a container: has a copy of the output; -1 if there is none */

    int presses;
    int status;          /* of the entrypoint, when it has ended */
    bool has_ended;      /* the entrypoint */
    bool has_children;   /* other processes, which are killed then */
    bool has_stalled;    /* the host is not connected to the output */
    long long last_written;  /* when the host took something, or there was nothing to take */
    long long last_progress; /* of the end: when something was read or written, or ended */
};

/*
 * Relay its streams, reap all processes, and obey the power button: the first press sends the stop
 * signal to the entrypoint, the second one kills every process. SIGTERM counts as a press.
 *
 * If the host takes nothing for ten seconds and the queue of the output is full, the entrypoint does
 * not wait: its output is dropped until the host takes something.
 *
 * Returns the exit status of the entrypoint when it has ended, all other processes were killed,
 * and their output is in the queue.
 */
int supervise(struct supervision *supervision);

#endif
