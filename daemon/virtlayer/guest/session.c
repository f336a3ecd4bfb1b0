/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entrypoint, from its start to the record of its exit status. */
#include "session.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "records.h"
#include "supervision.h"

/* Signals that are read, and do not interrupt; the others keep what process 1 does with them. */
static int open_signals(sigset_t *before)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN); /* the program may close its standard input */
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, before))
        return -1;
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int run_session(struct configuration *configuration, struct output *output, int input_port,
                struct failure *failure)
{
    static struct input input;
    struct entrypoint entrypoint;
    struct supervision supervision = {.stop_signal = configuration->stop_signal,
                                      .entrypoint = &entrypoint,
                                      .input = &input,
                                      .output = output};
    sigset_t before;

    supervision.signals = open_signals(&before);
    if (supervision.signals < 0)
        return failed(failure, STATUS_FAILED, "Cannot receive signals: %s.", strerror(errno));
    supervision.button_count = open_buttons(supervision.buttons);
    begin_input(&input, input_port, configuration->interactive);
    put_record(output, RECORD_STARTED, "", 0);
    write_output(output);
    if (start_entrypoint(configuration, &before, &entrypoint, failure))
        return -1;
    put_status(output, supervise(&supervision));
    return 0;
}
