/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* While the entrypoint runs. */
#include "supervision.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "records.h"

enum {
    PATIENCE = 10000, /* milliseconds without progress */
    AGAIN = 100,      /* milliseconds after which a host is looked for that was not connected */
    FIRST_BUTTON = 5,
    MOST_WATCHED = FIRST_BUTTON + MOST_BUTTONS
};

/* The places in the array of poll(2). */
enum { SIGNALS, OUTPUT, SOURCE_OUTPUT, SOURCE_ERRORS, INPUT };

static void kill_all(void)
{
    kill(-1, SIGKILL);
}

static void press(struct supervision *supervision)
{
    supervision->presses++;
    if (supervision->presses == 1 && !supervision->has_ended) {
        note("the power button sends signal %d", supervision->stop_signal);
        kill(supervision->entrypoint->process, supervision->stop_signal);
    } else {
        kill_all();
    }
}

static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_SIGNAL + WTERMSIG(status);
}

static void reap(struct supervision *supervision)
{
    pid_t process;
    int status;

    while ((process = waitpid(-1, &status, WNOHANG)) > 0)
        if (process == supervision->entrypoint->process) {
            supervision->entrypoint->process = 0;
            supervision->has_ended = true;
            supervision->status = exit_status(status);
            supervision->last_progress = now();
        }
    supervision->has_children = !process || errno != ECHILD;
    if (supervision->has_ended && supervision->has_children)
        kill_all();
}

static void take_signals(struct supervision *supervision)
{
    struct signalfd_siginfo information;

    while (read(supervision->signals, &information, sizeof(information)) == sizeof(information))
        if (information.ssi_signo != SIGCHLD)
            press(supervision);
    reap(supervision);
}

/* What nobody reads there is dropped: the record has it. */
static void copy_to_console(struct supervision *supervision, const void *data, size_t size)
{
    if (supervision->console >= 0 && write(supervision->console, data, size) < 0 && errno == EIO)
        supervision->console = -1;
}

static bool is_host_silent(const struct supervision *supervision)
{
    return !until(supervision->last_written + PATIENCE);
}

/* Whether output of the entrypoint can be read: the queue has room, or never will have. */
static bool can_relay(const struct supervision *supervision)
{
    return output_room(supervision->output) || is_host_silent(supervision);
}

/* Move some output to the queue, and close what has ended. */
static void relay(struct supervision *supervision, int *source, unsigned char kind)
{
    static unsigned char chunk[MOST_CONTENT];
    size_t room = output_room(supervision->output);
    ssize_t count;

    if (*source < 0 || !can_relay(supervision))
        return;
    count = read(*source, chunk, room ? room : sizeof(chunk));
    if (count > 0) {
        if (room)
            put_record(supervision->output, kind, chunk, (size_t)count);
        copy_to_console(supervision, chunk, (size_t)count);
        supervision->last_progress = now();
        return;
    }
    if (count < 0 && (errno == EINTR || (errno == EAGAIN && supervision->has_children)))
        return;
    close(*source);
    *source = -1;
}

static void write_queue(struct supervision *supervision)
{
    size_t before = supervision->output->begin;

    write_output(supervision->output);
    if (supervision->output->begin != before)
        supervision->last_progress = supervision->last_written = now();
    else if (is_output_empty(supervision->output))
        supervision->last_written = now();
}

static struct pollfd watched(int file, short events)
{
    return (struct pollfd){.fd = file, .events = events};
}

/* What is to be waited for now: nothing that there is no room for. */
static nfds_t fill(const struct supervision *supervision, struct pollfd watch[MOST_WATCHED])
{
    const struct entrypoint *entrypoint = supervision->entrypoint;
    bool has_room = can_relay(supervision);
    bool queued = has_queued_input(supervision->input);
    int input = queued ? entrypoint->input
                       : (wants_input(supervision->input) ? supervision->input->events : -1);
    size_t i;

    watch[SIGNALS] = watched(supervision->signals, POLLIN);
    watch[OUTPUT] = watched(is_output_empty(supervision->output) || supervision->has_stalled
                                ? -1
                                : supervision->output->file,
                            POLLOUT);
    watch[SOURCE_OUTPUT] = watched(has_room ? entrypoint->output : -1, POLLIN);
    watch[SOURCE_ERRORS] = watched(has_room ? entrypoint->errors : -1, POLLIN);
    watch[INPUT] = watched(supervision->has_ended ? -1 : input, queued ? POLLOUT : POLLIN);
    for (i = 0; i < supervision->button_count; i++)
        watch[FIRST_BUTTON + i] = watched(supervision->buttons[i], POLLIN);
    return FIRST_BUTTON + supervision->button_count;
}

static int poll_time(const struct supervision *supervision)
{
    bool waits_for_host = !is_output_empty(supervision->output);

    return waits_for_host || supervision->has_ended ? AGAIN : -1;
}

static void handle(struct supervision *supervision, const struct pollfd *watch, nfds_t count)
{
    struct entrypoint *entrypoint = supervision->entrypoint;
    bool is_terminal = entrypoint->terminal >= 0;
    nfds_t i;

    if (watch[SIGNALS].revents)
        take_signals(supervision);
    for (i = FIRST_BUTTON; i < count; i++)
        if (watch[i].revents) {
            int presses = count_presses(watch[i].fd);

            while (presses--)
                press(supervision);
        }
    if (watch[INPUT].revents && !supervision->has_ended) {
        pass_input(supervision->input, entrypoint);
        if (wants_input(supervision->input))
            read_input(supervision->input, entrypoint);
    }
    if (watch[SOURCE_OUTPUT].revents)
        relay(supervision, &entrypoint->output, is_terminal ? RECORD_TERMINAL : RECORD_STDOUT);
    if (watch[SOURCE_ERRORS].revents)
        relay(supervision, &entrypoint->errors, RECORD_STDERR);
    supervision->has_stalled = watch[OUTPUT].revents && !(watch[OUTPUT].revents & POLLOUT);
    write_queue(supervision);
}

/* With all processes dead, nothing follows what can be read now. */
static bool is_drained(struct supervision *supervision)
{
    struct entrypoint *entrypoint = supervision->entrypoint;

    if (!supervision->has_ended)
        return false;
    reap(supervision);
    if (supervision->has_children)
        return false;
    relay(supervision, &entrypoint->output,
          entrypoint->terminal >= 0 ? RECORD_TERMINAL : RECORD_STDOUT);
    relay(supervision, &entrypoint->errors, RECORD_STDERR);
    return entrypoint->output < 0 && entrypoint->errors < 0;
}

static bool is_out_of_patience(const struct supervision *supervision)
{
    return supervision->has_ended && !until(supervision->last_progress + PATIENCE);
}

int supervise(struct supervision *supervision)
{
    struct pollfd watch[MOST_WATCHED];

    supervision->has_children = true;
    supervision->last_written = now();
    while (!is_drained(supervision) && !is_out_of_patience(supervision)) {
        nfds_t count = fill(supervision, watch);

        if (poll(watch, count, poll_time(supervision)) < 0 && errno != EINTR)
            break;
        handle(supervision, watch, count);
    }
    return supervision->status;
}
