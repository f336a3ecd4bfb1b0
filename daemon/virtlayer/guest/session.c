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

int run_session(struct session *session, struct failure *failure)
{
    static struct input input;
    struct configuration *configuration = session->configuration;
    struct entrypoint entrypoint;
    struct supervision supervision = {.stop_signal = configuration->stop_signal,
                                      .entrypoint = &entrypoint,
                                      .input = &input,
                                      .output = session->output,
                                      .console = session->console};
    sigset_t before;
    int status;

    supervision.signals = open_signals(&before);
    if (supervision.signals < 0)
        return failed(failure, STATUS_FAILED, "Cannot receive signals: %s.", strerror(errno));
    supervision.button_count = open_buttons(supervision.buttons);
    if (session->console >= 0)
        begin_console(&input, session->console, configuration->interactive);
    else
        begin_input(&input, session->input_port, configuration->interactive);
    put_record(session->output, RECORD_STARTED, "", 0);
    write_output(session->output);
    if (start_entrypoint(configuration, &before, &entrypoint, failure))
        return -1;
    status = supervise(&supervision);
    put_status(session->output, status);
    return status;
}
