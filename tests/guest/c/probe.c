/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls the parsers of the init of machines, which have untrusted input, for the tests:
 *
 *     probe configuration | users | records
 *
 * Standard input has texts, each after its length (32 bits, little-endian). For each call there is
 * one line of output.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configuration.h"
#include "records.h"
#include "users.h"

struct text {
    uint32_t size;
    char *data; /* exactly as large, so that a sanitizer sees what is read after it */
};

static bool take(struct text *text)
{
    if (fread(&text->size, sizeof(text->size), 1, stdin) != 1)
        return false;
    text->data = malloc(text->size);
    if (!text->data || fread(text->data, 1, text->size, stdin) != text->size)
        abort();
    return true;
}

static bool take_string(char **string)
{
    struct text text;

    if (!take(&text))
        return false;
    *string = strndup(text.size ? text.data : "", text.size);
    free(text.data);
    return true;
}

static void show_failure(const struct failure *failure)
{
    printf("%d %s\n", failure->status, failure->text);
}

static void show_texts(const struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        printf("%s|", texts->items[i]);
}

static void probe_configuration(void)
{
    struct text text;

    while (take(&text)) {
        struct configuration parsed;
        struct failure failure;

        if (parse_configuration((unsigned char *)text.data, text.size, &parsed, &failure)) {
            show_failure(&failure);
        } else {
            show_texts(&parsed.arguments);
            show_texts(&parsed.environment);
            printf("%s|%s|%s|%d%d%d%d|%d\n", parsed.directory, parsed.user, parsed.hostname,
                   parsed.terminal, parsed.interactive, parsed.dhcp, parsed.is_init,
                   parsed.stop_signal);
        }
        free(text.data);
    }
}

static void probe_users(void)
{
    char *user, *passwd, *group;

    while (take_string(&user)) {
        struct identity identity;
        struct failure failure;

        if (!take_string(&passwd) || !take_string(&group))
            abort();
        if (find_identity(user, passwd, group, "/work", &identity, &failure)) {
            show_failure(&failure);
        } else {
            printf("%u:%u ", identity.uid, identity.gid);
            for (size_t i = 0; i < identity.group_count; i++)
                printf("%s%u", i ? "," : "", identity.groups[i]);
            printf(" %s\n", identity.home);
        }
        free(user);
        free(passwd);
        free(group);
    }
}

/* Every text is one read from a port; the line names the records until the next one. */
static void probe_records(void)
{
    static struct decoder decoder;
    struct text text;

    while (take(&text)) {
        size_t done = 0;

        while (done < text.size) {
            size_t room, size;
            unsigned char *place = decoder_room(&decoder, &room);
            struct record record;

            if (!room)
                abort();
            size = text.size - done < room ? text.size - done : room;
            memcpy(place, text.data + done, size);
            received(&decoder, size);
            done += size;
            while (take_record(&decoder, &record)) {
                unsigned int sum = 0;

                for (size_t i = 0; i < record.size; i++)
                    sum += record.content[i];
                printf("%u:%zu:%u ", record.kind, record.size, sum);
            }
        }
        printf("\n");
        free(text.data);
    }
}

int main(int count, char **arguments)
{
    if (count != 2)
        return EXIT_FAILURE;
    if (!strcmp(arguments[1], "configuration"))
        probe_configuration();
    else if (!strcmp(arguments[1], "users"))
        probe_users();
    else
        probe_records();
    return 0;
}
