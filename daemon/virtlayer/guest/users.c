/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user of the entrypoint. The rules are those of podman 5.4, which has them of moby/sys/user. */
#include "users.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "image_file.h"

enum { MOST_GROUPS = 65536, NO_MEMORY = 1 }; /* the kernel's NGROUPS_MAX */

/* A part of a text. */
struct span {
    const char *start;
    size_t length;
};

/* The next line of a text; false at its end. */
static bool take_line(const char **text, struct span *line)
{
    if (!**text)
        return false;
    line->start = *text;
    line->length = strcspn(*text, "\n");
    *text += line->length + ((*text)[line->length] == '\n');
    return true;
}

/* What is before the next separator, which is dropped; the whole rest if there is none. */
static struct span take_field(struct span *rest, char separator)
{
    const char *end = rest->length ? memchr(rest->start, separator, rest->length) : NULL;
    struct span field = {rest->start, end ? (size_t)(end - rest->start) : rest->length};
    size_t dropped = field.length + (end ? 1 : 0);

    rest->start += dropped;
    rest->length -= dropped;
    return field;
}

static bool is_text(struct span span, const char *text)
{
    return strlen(text) == span.length && !memcmp(span.start, text, span.length);
}

/* Whether it is a number, of any size; -1 stands for one that is no id. */
static bool is_number(struct span span, long *number)
{
    size_t i = span.length && (span.start[0] == '-' || span.start[0] == '+');
    long value = 0;

    if (i == span.length)
        return false;
    for (; i < span.length; i++) {
        if (span.start[i] < '0' || span.start[i] > '9')
            return false;
        if (value <= INT_MAX)
            value = value * 10 + span.start[i] - '0';
    }
    *number = value > INT_MAX || (span.start[0] == '-' && value) ? -1 : value;
    return true;
}

/* An id; -1 if it is damaged. */
static long parse_id(struct span span)
{
    long number;

    return is_number(span, &number) ? number : -1;
}

static struct span whole(const char *text)
{
    return (struct span){text, strlen(text)};
}

/* A line of passwd(5): name:password:uid:gid:comment:home:shell. */
struct user {
    struct span name, home;
    long uid, gid; /* -1 if they are damaged */
};

static struct user parse_user(struct span line)
{
    struct user user;

    user.name = take_field(&line, ':');
    take_field(&line, ':');
    user.uid = parse_id(take_field(&line, ':'));
    user.gid = parse_id(take_field(&line, ':'));
    take_field(&line, ':');
    user.home = take_field(&line, ':');
    return user;
}

/* A line of group(5): name:password:gid:member,member... */
struct group {
    struct span name, members;
    long gid; /* -1 if it is damaged */
};

static struct group parse_group(struct span line)
{
    struct group group;

    group.name = take_field(&line, ':');
    take_field(&line, ':');
    group.gid = parse_id(take_field(&line, ':'));
    group.members = take_field(&line, ':');
    return group;
}

static bool has_member(struct group group, struct span name)
{
    while (group.members.length) {
        struct span member = take_field(&group.members, ',');

        if (member.length == name.length && !memcmp(member.start, name.start, name.length))
            return true;
    }
    return false;
}

static void *kept(void *memory)
{
    if (!memory)
        exit(NO_MEMORY);
    return memory;
}

static void add_group(struct identity *identity, gid_t gid)
{
    size_t i;

    for (i = 0; i < identity->group_count; i++)
        if (identity->groups[i] == gid)
            return;
    if (identity->group_count == MOST_GROUPS)
        return;
    identity->groups = kept(
        reallocarray(identity->groups, identity->group_count + 1, sizeof(*identity->groups)));
    identity->groups[identity->group_count++] = gid;
}

/* The first user with this name, or with this number if it is not negative. */
static bool find_user(const char *passwd, const char *name, long number, struct user *found)
{
    struct span line;

    while (take_line(&passwd, &line)) {
        *found = parse_user(line);
        if (number < 0 ? is_text(found->name, name) : found->uid == number)
            return true;
    }
    return false;
}

static bool find_group(const char *group, const char *name, long number, struct group *found)
{
    struct span line;

    while (take_line(&group, &line)) {
        *found = parse_group(line);
        if (number < 0 ? is_text(found->name, name) : found->gid == number)
            return true;
    }
    return false;
}

static int invalid_number(struct failure *failure)
{
    return failed(failure, STATUS_CANNOT_RUN, "User and group ids are numbers from 0 to %d.",
                  INT_MAX);
}

/* The user itself; its name becomes "" if it has none. */
static int set_user(const char *name, bool is_default, const char *passwd, const char *directory,
                    struct span *found_name, struct identity *identity, struct failure *failure)
{
    struct user user;
    long number = -1;

    *found_name = whole("");
    if (*name) {
        if (is_number(whole(name), &number) && number < 0)
            return invalid_number(failure);
    } else {
        number = 0;
    }
    if (!find_user(passwd, name, number, &user)) {
        if (number < 0)
            return failed(failure, STATUS_CANNOT_RUN,
                          "The image has no user \"%.80s\" in its /etc/passwd. Name another user.",
                          name);
        identity->uid = (uid_t)number;
        identity->gid = 0;
        identity->home = is_default ? "" : (char *)directory;
        return 0;
    }
    if (user.uid < 0 || user.gid < 0)
        return failed(failure, STATUS_CANNOT_RUN,
                      "The line of the user \"%.80s\" in the image's /etc/passwd is damaged.", name);
    identity->uid = (uid_t)user.uid;
    identity->gid = (gid_t)user.gid;
    identity->home = kept(strndup(user.home.start, user.home.length));
    *found_name = user.name;
    return 0;
}

static int set_group(const char *name, const char *group, struct identity *identity,
                     struct failure *failure)
{
    struct group found;
    long number = -1;

    if (is_number(whole(name), &number) && number < 0)
        return invalid_number(failure);
    if (find_group(group, name, number, &found))
        number = found.gid;
    else if (number < 0)
        return failed(failure, STATUS_CANNOT_RUN,
                      "The image has no group \"%.80s\" in its /etc/group. Name another group.",
                      name);
    if (number < 0)
        return failed(failure, STATUS_CANNOT_RUN,
                      "The line of the group \"%.80s\" in the image's /etc/group is damaged.",
                      name);
    identity->gid = (gid_t)number;
    return 0;
}

static void add_groups_of(struct span user, const char *group, struct identity *identity)
{
    struct span line;

    while (take_line(&group, &line)) {
        struct group found = parse_group(line);

        if (found.gid >= 0 && has_member(found, user))
            add_group(identity, (gid_t)found.gid);
    }
}

int find_identity(const char *user, const char *passwd, const char *group, const char *directory,
                  struct identity *identity, struct failure *failure)
{
    const char *colon = strchr(user, ':');
    char *name = kept(colon ? strndup(user, (size_t)(colon - user)) : strdup(user));
    struct span found_name;
    int result;

    memset(identity, 0, sizeof(*identity));
    result = set_user(name, !*user, passwd, directory, &found_name, identity, failure);
    if (!result && colon && colon[1])
        result = set_group(colon + 1, group, identity, failure);
    free(name);
    if (result)
        return -1;
    if (*user)
        add_group(identity, identity->gid);
    /* A group that is named, even as "", is the only one. */
    if (!colon && found_name.length)
        add_groups_of(found_name, group, identity);
    return 0;
}

int look_up_user(const char *user, const char *directory, struct identity *identity,
                 struct failure *failure)
{
    char *passwd, *group;
    int result;

    if (read_image_file("/", "/etc/passwd", &passwd, failure))
        return -1;
    if (read_image_file("/", "/etc/group", &group, failure)) {
        free(passwd);
        return -1;
    }
    result = find_identity(user, passwd, group, directory, identity, failure);
    free(passwd);
    free(group);
    return result;
}
