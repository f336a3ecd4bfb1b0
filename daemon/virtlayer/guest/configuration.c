/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the configuration. Its lengths are checked. It is trusted only to name a program. */
#include "configuration.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "VLCONF1\n"

enum { MOST_SIGNAL = 64, MOST_HOSTNAME = 64, NO_MEMORY = 1 };

struct reader {
    const unsigned char *data;
    size_t left;
};

/* Running out of memory this early leaves nothing to run; the kernel then ends the machine. */
static void *kept(void *memory)
{
    if (!memory)
        exit(NO_MEMORY);
    return memory;
}

void append_text(struct texts *texts, char *text)
{
    texts->items = kept(reallocarray(texts->items, texts->count + 2, sizeof(*texts->items)));
    texts->items[texts->count++] = text;
    texts->items[texts->count] = NULL;
}

const char *variable(const struct configuration *configuration, const char *name)
{
    size_t length = strlen(name), i;

    for (i = 0; i < configuration->environment.count; i++) {
        const char *item = configuration->environment.items[i];

        if (!strncmp(item, name, length) && item[length] == '=')
            return item + length + 1;
    }
    return NULL;
}

void add_variable(struct configuration *configuration, const char *name, const char *value)
{
    char *item;

    if (variable(configuration, name))
        return;
    if (asprintf(&item, "%s=%s", name, value) < 0)
        exit(NO_MEMORY);
    append_text(&configuration->environment, item);
}

/* A length and as many bytes, as a string of its own; NULL if the data is damaged. */
static char *take_text(struct reader *reader)
{
    size_t length;
    char *text;

    if (reader->left < 4)
        return NULL;
    length = reader->data[0] | reader->data[1] << 8 | reader->data[2] << 16 |
             (size_t)reader->data[3] << 24;
    reader->data += 4;
    reader->left -= 4;
    if (length > reader->left || memchr(reader->data, '\0', length))
        return NULL;
    text = kept(malloc(length + 1));
    memcpy(text, reader->data, length);
    text[length] = '\0';
    reader->data += length;
    reader->left -= length;
    return text;
}

static int take_number(const char *text, int least, int most, int *number)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || value < least || value > most)
        return -1;
    *number = (int)value;
    return 0;
}

static int take_flag(const char *text, bool *flag)
{
    int number;

    if (take_number(text, 0, 1, &number))
        return -1;
    *flag = number;
    return 0;
}

/* It becomes a line of /etc/hosts. */
static int take_hostname(char *text, char **hostname)
{
    if (strlen(text) > MOST_HOSTNAME || text[strcspn(text, " \t\r\n#/")])
        return -1;
    *hostname = text;
    return 0;
}

static int take_variable(char *text, struct texts *environment)
{
    if (text[0] == '=' || !strchr(text, '='))
        return -1;
    append_text(environment, text);
    return 0;
}

/* Whether a value belongs to its key; -1 if not, or if the key is unknown. */
static int take_entry(const char *key, char *value, struct configuration *into)
{
    if (!strcmp(key, "argument"))
        append_text(&into->arguments, value);
    else if (!strcmp(key, "environment"))
        return take_variable(value, &into->environment);
    else if (!strcmp(key, "directory"))
        into->directory = value;
    else if (!strcmp(key, "user"))
        into->user = value;
    else if (!strcmp(key, "hostname"))
        return take_hostname(value, &into->hostname);
    else if (!strcmp(key, "terminal"))
        return take_flag(value, &into->terminal);
    else if (!strcmp(key, "interactive"))
        return take_flag(value, &into->interactive);
    else if (!strcmp(key, "stop-signal"))
        return take_number(value, 1, MOST_SIGNAL, &into->stop_signal);
    else if (!strcmp(key, "dhcp"))
        return take_flag(value, &into->dhcp);
    else if (!strcmp(key, "init"))
        return take_flag(value, &into->is_init);
    else
        return -1;
    return 0;
}

static void set_defaults(struct configuration *configuration)
{
    memset(configuration, 0, sizeof(*configuration));
    configuration->directory = "/";
    configuration->user = "";
    configuration->hostname = "";
    configuration->stop_signal = 15;
}

int parse_configuration(const unsigned char *data, size_t size, struct configuration *configuration,
                        struct failure *failure)
{
    struct reader reader = {data, size};

    set_defaults(configuration);
    if (size < strlen(MAGIC) || memcmp(data, MAGIC, strlen(MAGIC)))
        return failed(failure, STATUS_FAILED, "The configuration disk has no configuration.");
    reader.data += strlen(MAGIC);
    reader.left -= strlen(MAGIC);
    for (;;) {
        char *key = take_text(&reader), *value;

        if (!key)
            break;
        if (!*key) {
            free(key);
            if (!configuration->arguments.count || !*configuration->arguments.items[0])
                return failed(failure, STATUS_FAILED, "The configuration names no program.");
            return 0;
        }
        value = take_text(&reader);
        if (!value) {
            free(key);
            break;
        }
        if (take_entry(key, value, configuration)) {
            /* Not the value, which can be a secret. */
            failed(failure, STATUS_FAILED, "The configuration has an invalid \"%.40s\".", key);
            free(key);
            free(value);
            return -1;
        }
        free(key);
    }
    return failed(failure, STATUS_FAILED, "The configuration is damaged.");
}
