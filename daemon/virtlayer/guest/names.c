/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hostname, /etc/hosts and /etc/resolv.conf. */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_file.h"
#include "log.h"
#include "mounts.h"

#define FILES "/files"

enum { MOST_HOSTNAME = 64, LINK = 64 };

void make_name_files(void)
{
    if (ensure_directory(FILES) ||
        mount("tmpfs", FILES, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=755"))
        warn("cannot make the files of the network: %s", strerror(errno));
}

/* The content changes in place: the image has the file mounted. */
static FILE *rewrite(const char *name)
{
    FILE *file = fopen(name, "we");

    if (!file)
        warn("cannot write %s: %s", name, strerror(errno));
    return file;
}

void write_hosts(const char *address)
{
    char hostname[MOST_HOSTNAME + 1] = "";
    FILE *file = rewrite(FILES "/hosts");

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
    while (*(words += strspn(words, " \t\r\n"))) {
        int length = (int)strcspn(words, " \t\r\n");

        fprintf(file, "%s%.*s%s", before, length, words, after);
        words += length;
    }
}

void write_resolver(const char *search, const char *servers)
{
    FILE *file = rewrite(FILES "/resolv.conf");

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

void set_hostname(const char *hostname, const char *root)
{
    struct failure unused;
    char *image = NULL;
    FILE *file;

    if (!*hostname && !read_image_file(root, "/etc/hostname", &image, &unused)) {
        image[strcspn(image, " \t\r\n#")] = '\0';
        hostname = image;
    }
    if (*hostname && sethostname(hostname, strnlen(hostname, MOST_HOSTNAME)))
        warn("cannot set the hostname: %s", strerror(errno));
    file = *hostname ? rewrite(FILES "/hostname") : NULL;
    if (file) {
        fprintf(file, "%.*s\n", MOST_HOSTNAME, hostname);
        fclose(file);
    }
    free(image);
}

struct name_files open_name_files(bool has_resolver)
{
    return (struct name_files){
        .hosts = open(FILES "/hosts", O_PATH | O_CLOEXEC),
        .hostname = open(FILES "/hostname", O_PATH | O_CLOEXEC),
        .resolver = has_resolver ? open(FILES "/resolv.conf", O_PATH | O_CLOEXEC) : -1,
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

static void mount_file(int file, const char *path)
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

void mount_name_files(struct name_files files)
{
    mount_file(files.hosts, "/etc/hosts");
    mount_file(files.hostname, "/etc/hostname");
    mount_file(files.resolver, "/etc/resolv.conf");
}
