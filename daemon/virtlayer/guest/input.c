/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What somebody who is attached sends to the entrypoint. */
#include "input.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { MOST_SIGNAL = 64 };

/*
 * A port that nobody is connected to is reported as hung up, all the time. Only changes count
 * here: the descriptor of epoll becomes readable once for each of them.
 */
static int watch(int port)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int events = epoll_create1(EPOLL_CLOEXEC);

    if (events >= 0 && epoll_ctl(events, EPOLL_CTL_ADD, port, &event)) {
        close(events);
        return -1;
    }
    return events;
}

void begin_input(struct input *input, int port, bool keeps_input)
{
    memset(input, 0, sizeof(*input));
    input->port = port;
    input->events = port < 0 ? -1 : watch(port);
    input->keeps_input = keeps_input;
}

void begin_console(struct input *input, int console, bool keeps_input)
{
    begin_input(input, console, keeps_input);
    input->is_console = true;
}

bool has_queued_input(const struct input *input)
{
    return input->begin < input->end;
}

bool wants_input(const struct input *input)
{
    return input->events >= 0 && !has_queued_input(input);
}

static void close_pipe(struct entrypoint *entrypoint)
{
    if (entrypoint->terminal < 0 && entrypoint->input >= 0) {
        close(entrypoint->input);
        entrypoint->input = -1;
    }
}

/* A terminal has no end; its program sees one when somebody types this character. */
static void queue_end(struct input *input, const struct entrypoint *entrypoint)
{
    struct termios settings;

    if (entrypoint->terminal >= 0 && !tcgetattr(entrypoint->terminal, &settings) &&
        input->end < sizeof(input->queue))
        input->queue[input->end++] = settings.c_cc[VEOF];
    input->at_end = true;
}

/* All that one read can bring fits: nothing is read before the queue is empty. */
static void queue_input(struct input *input, const struct record *record)
{
    if (record->size > sizeof(input->queue) - input->end)
        return;
    memcpy(input->queue + input->end, record->content, record->size);
    input->end += record->size;
}

static void set_window_size(const struct record *record, const struct entrypoint *entrypoint)
{
    const unsigned char *size = record->content;
    struct winsize window = {0};

    if (record->size != 4 || entrypoint->terminal < 0)
        return;
    window.ws_row = (unsigned short)(size[0] | size[1] << 8);
    window.ws_col = (unsigned short)(size[2] | size[3] << 8);
    ioctl(entrypoint->terminal, TIOCSWINSZ, &window);
}

static void send_signal(const struct record *record, const struct entrypoint *entrypoint)
{
    if (record->size == 1 && entrypoint->process > 0 && record->content[0] &&
        record->content[0] <= MOST_SIGNAL)
        kill(entrypoint->process, record->content[0]);
}

static void obey(struct input *input, const struct record *record,
                 const struct entrypoint *entrypoint)
{
    switch (record->kind) {
    case RECORD_STDIN:
        if (input->keeps_input && !input->at_end)
            queue_input(input, record);
        break;
    case RECORD_END_OF_INPUT:
        if (input->keeps_input && !input->at_end)
            queue_end(input, entrypoint);
        break;
    case RECORD_WINDOW_SIZE:
        set_window_size(record, entrypoint);
        break;
    case RECORD_SIGNAL:
        send_signal(record, entrypoint);
        break;
    default:
        break; /* of a later version, or noise */
    }
}

/* Read once; false if there is nothing more. Nothing, too, is a host that is not connected. */
static bool read_records(struct input *input, const struct entrypoint *entrypoint)
{
    size_t room;
    unsigned char *place = decoder_room(&input->decoder, &room);
    ssize_t count = read(input->port, place, room);
    struct record record;

    if (count <= 0)
        return count < 0 && errno == EINTR;
    received(&input->decoder, (size_t)count);
    while (take_record(&input->decoder, &record))
        obey(input, &record, entrypoint);
    return true;
}

/* Nothing is what a console gives for the character that ends the input. */
static bool read_console(struct input *input)
{
    ssize_t count = read(input->port, input->queue, sizeof(input->queue));

    if (count < 0)
        return errno == EINTR;
    if (!count)
        input->at_end = true;
    if (input->keeps_input)
        input->end = (size_t)count;
    return count > 0;
}

void read_input(struct input *input, struct entrypoint *entrypoint)
{
    struct epoll_event event;

    epoll_wait(input->events, &event, 1, 0);
    /* Until there is nothing more, because there is no other event for what is left. */
    while (!has_queued_input(input) &&
           (input->is_console ? read_console(input) : read_records(input, entrypoint)))
        pass_input(input, entrypoint);
    pass_input(input, entrypoint);
}

void pass_input(struct input *input, struct entrypoint *entrypoint)
{
    while (has_queued_input(input)) {
        ssize_t count = entrypoint->input < 0 ? (ssize_t)(input->end - input->begin)
                                              : write(entrypoint->input, input->queue + input->begin,
                                                      input->end - input->begin);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0) /* it has closed its standard input */
            count = (ssize_t)(input->end - input->begin);
        input->begin += (size_t)count;
    }
    input->begin = input->end = 0;
    if (input->at_end)
        close_pipe(entrypoint);
}
