/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hostname, /etc/hosts and /etc/resolv.conf. */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "image_file.h"
#include "log.h"
#include "mounts.h"

#define BLANKS " \t\r\n"

enum { MOST_HOSTNAME = 64, LINK = 64 };

void mount_names(const char *directory)
{
    if (ensure_directory(directory) ||
        mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=755"))
        warn("cannot mount %s: %s", directory, strerror(errno));
}

static int open_file(const char *directory, const char *name, int flags)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0644);
}

/* The content changes in place: the image has the file mounted. */
static FILE *rewrite(const char *directory, const char *name)
{
    int file = open_file(directory, name, O_WRONLY | O_CREAT | O_TRUNC);
    FILE *stream = file < 0 ? NULL : fdopen(file, "w");

    if (!stream)
        warn("cannot write /etc/%s: %s", name, strerror(errno));
    if (!stream && file >= 0)
        close(file);
    return stream;
}

void write_hosts(const char *directory, const char *address)
{
    char hostname[MOST_HOSTNAME + 1] = "";
    FILE *file = rewrite(directory, "hosts");

    if (!file)
        return;
    gethostname(hostname, sizeof(hostname) - 1);
    fputs("127.0.0.1\tlocalhost\n::1\tlocalhost\n", file);
    if (*hostname)
        fprintf(file, "%s\t%s\n", *address ? address : "127.0.1.1", hostname);
    fclose(file);
}

/* The words come from a DHCP server: udhcpc checks names, but a newline is not to get through. */
static void write_words(FILE *file, const char *before, const char *words, const char *after)
{
    while (*(words += strspn(words, BLANKS))) {
        int length = (int)strcspn(words, BLANKS);

        fprintf(file, "%s%.*s%s", before, length, words, after);
        words += length;
    }
}

void write_resolver(const char *directory, const char *search, const char *servers)
{
    FILE *file = rewrite(directory, "resolv.conf");

    if (!file)
        return;
    if (*search) {
        fputs("search", file);
        write_words(file, " ", search, "");
        fputs("\n", file);
    }
    write_words(file, "nameserver ", servers, "\n");
    fclose(file);
}

void set_hostname(const char *directory, const char *hostname, const char *root)
{
    struct failure unused;
    char *image = NULL;
    FILE *file;

    if (!*hostname && !read_image_file(root, "/etc/hostname", &image, &unused)) {
        image[strcspn(image, BLANKS "#")] = '\0';
        hostname = image;
    }
    if (*hostname && sethostname(hostname, strnlen(hostname, MOST_HOSTNAME)))
        warn("cannot set the hostname: %s", strerror(errno));
    file = *hostname ? rewrite(directory, "hostname") : NULL;
    if (file) {
        fprintf(file, "%.*s\n", MOST_HOSTNAME, hostname);
        fclose(file);
    }
    free(image);
}

struct names open_names(const char *directory, bool has_resolver)
{
    return (struct names){
        .hosts = open_file(directory, "hosts", O_PATH),
        .hostname = open_file(directory, "hostname", O_PATH),
        .resolver = has_resolver ? open_file(directory, "resolv.conf", O_PATH) : -1,
    };
}

/* The file that a path leads to in the image. One is created if there is none. */
static int open_target(const char *path)
{
    int target = open(path, O_PATH | O_CLOEXEC);

    if (target >= 0)
        return target;
    unlink(path); /* a link that leads nowhere */
    return open(path, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

static void show(int file, const char *path)
{
    char source[LINK], target[LINK];
    int place;

    if (file < 0)
        return;
    place = open_target(path);
    snprintf(source, sizeof(source), "/proc/self/fd/%d", file);
    snprintf(target, sizeof(target), "/proc/self/fd/%d", place);
    if (place < 0 || mount(source, target, NULL, MS_BIND, NULL))
        warn("cannot mount %s: %s", path, strerror(errno));
    if (place >= 0)
        close(place);
    close(file);
}

void show_names(struct names names)
{
    show(names.hosts, "/etc/hosts");
    show(names.hostname, "/etc/hostname");
    show(names.resolver, "/etc/resolv.conf");
}
