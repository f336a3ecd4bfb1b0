/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls that Python does not have: openat2(2), which opens a name without following a link,
 * syncfs(2), fstatfs(2), and statx(2), which asks a server for what this host may have cached, and
 * tells when a file was made. And libvirt's event loop, without a return to Python for each event,
 * and the files of a directory with their times, without one for each file.
 */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030d0000

#include <Python.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Opens one name in a directory: no link is followed, and no mount point is entered. */
static PyObject *open_beneath(PyObject *module, PyObject *arguments)
{
    struct open_how how = {
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    int directory, flags;
    unsigned int mode;
    PyObject *name;
    long descriptor;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "iO&iI", &directory, PyUnicode_FSConverter, &name, &flags,
                          &mode))
        return NULL;
    /* A descriptor for which nobody asked with O_CLOEXEC would go to every program. */
    how.flags = (unsigned int)flags | O_CLOEXEC | O_NOFOLLOW;
    how.mode = mode;
    do {
        Py_BEGIN_ALLOW_THREADS
        descriptor = syscall(SYS_openat2, directory, PyBytes_AsString(name), &how, sizeof(how));
        Py_END_ALLOW_THREADS
    } while (descriptor < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    Py_DECREF(name);
    if (descriptor < 0)
        return PyErr_Occurred() ? NULL : PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(descriptor);
}

static PyObject *sync_filesystem(PyObject *module, PyObject *argument)
{
    long descriptor = PyLong_AsLong(argument);
    int result;

    (void)module;
    if (descriptor == -1 && PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = syncfs((int)descriptor);
    Py_END_ALLOW_THREADS
    if (result != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* Lets the next fstat(2) of a file, and a list of a directory, be as the server has them now. */
static PyObject *ask_server(PyObject *module, PyObject *argument)
{
    long descriptor = PyLong_AsLong(argument);
    struct statx info;
    int result;

    (void)module;
    if (descriptor == -1 && PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = statx((int)descriptor, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
                   &info);
    Py_END_ALLOW_THREADS
    if (result != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/*
 * What tells a file from all others that had its name before: its inode, whose number the next file
 * may get, and when it was made in nanoseconds, or 0 where the file system does not say that. An
 * empty name stands for what the descriptor refers to.
 */
static PyObject *inode_and_birth(PyObject *module, PyObject *arguments)
{
    struct statx info;
    int directory, result;
    PyObject *name;
    long long birth = 0;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "iO&", &directory, PyUnicode_FSConverter, &name))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = statx(directory, PyBytes_AsString(name), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
                   STATX_INO | STATX_BTIME, &info);
    Py_END_ALLOW_THREADS
    Py_DECREF(name);
    if (result != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (info.stx_mask & STATX_BTIME)
        birth = (long long)info.stx_btime.tv_sec * 1000000000 + info.stx_btime.tv_nsec;
    return Py_BuildValue("KL", (unsigned long long)info.stx_ino, birth);
}

/* Gets the type of a descriptor's file system; false with an exception on failure. */
static int file_system_type(PyObject *argument, long *type)
{
    long descriptor = PyLong_AsLong(argument);
    struct statfs info;
    int result;

    if (descriptor == -1 && PyErr_Occurred())
        return 0;
    Py_BEGIN_ALLOW_THREADS
    result = fstatfs((int)descriptor, &info);
    Py_END_ALLOW_THREADS
    if (result != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return 0;
    }
    *type = (long)info.f_type;
    return 1;
}

/* Whether a file is one that the kernel makes up: reading some of them blocks or has effects. */
static PyObject *is_made_by_kernel(PyObject *module, PyObject *argument)
{
    static const long types[] = {
        PROC_SUPER_MAGIC,  SYSFS_MAGIC,        DEBUGFS_MAGIC,      TRACEFS_MAGIC,
        SECURITYFS_MAGIC,  CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, PSTOREFS_MAGIC,
        EFIVARFS_MAGIC,    BPF_FS_MAGIC,       BINFMTFS_MAGIC,     SELINUX_MAGIC,
    };
    long type;

    (void)module;
    if (!file_system_type(argument, &type))
        return NULL;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (type == types[i])
            Py_RETURN_TRUE;
    Py_RETURN_FALSE;
}

static PyObject *is_nfs(PyObject *module, PyObject *argument)
{
    long type;

    (void)module;
    if (!file_system_type(argument, &type))
        return NULL;
    return PyBool_FromLong(type == NFS_SUPER_MAGIC);
}

/*
 * Turns libvirt's event loop until that fails. Each call of libvirt by another thread wakes this
 * one several times; from Python, it would contend with that thread for the interpreter each time.
 */
static PyObject *run_libvirt_events(PyObject *module, PyObject *unused)
{
    void *library = dlopen("libvirt.so.0", RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library != NULL ? dlsym(library, "virEventRunDefaultImpl") : NULL;
    int (*turn)(void);

    (void)module;
    (void)unused;
    if (symbol == NULL) {
        if (library != NULL)
            dlclose(library);
        PyErr_SetString(PyExc_OSError, "libvirt's library is not loaded");
        return NULL;
    }
    memcpy(&turn, &symbol, sizeof(turn));
    Py_BEGIN_ALLOW_THREADS
    while (turn() == 0)
        ;
    Py_END_ALLOW_THREADS
    dlclose(library);
    Py_RETURN_NONE;
}

/* A file of a directory. */
struct listed {
    char name[NAME_MAX + 1];
    unsigned long long inode;
    long long changed;
    long long size;
};

/*
 * Lists the files whose names end with a suffix, up to a number; 0, or an errno. A file that is
 * deleted meanwhile is left out.
 */
static int list_directory(DIR *directory, const char *suffix, size_t limit, struct listed **files,
                          size_t *count)
{
    size_t room = 0, suffix_length = strlen(suffix);
    struct dirent *entry;
    struct stat info;

    while (*count < limit) {
        errno = 0;
        entry = readdir(directory);
        if (entry == NULL)
            return errno;
        size_t length = strlen(entry->d_name);
        if (length > NAME_MAX || length < suffix_length
            || strcmp(entry->d_name + length - suffix_length, suffix) != 0)
            continue;
        if (fstatat(dirfd(directory), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT)
                continue;
            return errno;
        }
        if (*count == room) {
            struct listed *more;
            room = room != 0 ? 2 * room : 64;
            more = realloc(*files, room * sizeof(**files));
            if (more == NULL)
                return ENOMEM;
            *files = more;
        }
        struct listed *file = &(*files)[(*count)++];
        memcpy(file->name, entry->d_name, length + 1);
        file->inode = info.st_ino;
        file->changed = (long long)info.st_ctim.tv_sec * 1000000000 + info.st_ctim.tv_nsec;
        file->size = info.st_size;
    }
    return 0;
}

static PyObject *list_files(PyObject *module, PyObject *arguments)
{
    struct listed *files = NULL;
    const char *suffix;
    PyObject *list = NULL;
    Py_ssize_t limit;
    DIR *directory;
    size_t count = 0;
    int descriptor, error;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "isn", &descriptor, &suffix, &limit))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    /* Opened again: it is read from its beginning, whatever the descriptor was used for. */
    descriptor = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    directory = descriptor < 0 ? NULL : fdopendir(descriptor);
    error = directory == NULL
                ? errno
                : list_directory(directory, suffix, limit < 0 ? 0 : (size_t)limit, &files, &count);
    if (directory != NULL)
        closedir(directory);
    else if (descriptor >= 0)
        close(descriptor);
    Py_END_ALLOW_THREADS
    if (error != 0) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        list = PyList_New((Py_ssize_t)count);
    }
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *file = Py_BuildValue(
            "NKLL", PyUnicode_DecodeFSDefault(files[i].name), files[i].inode, files[i].changed,
            files[i].size);
        if (file == NULL || PyList_SetItem(list, (Py_ssize_t)i, file) != 0)
            Py_CLEAR(list);
    }
    free(files);
    return list;
}

static PyMethodDef methods[] = {
    { "inode_and_birth", inode_and_birth, METH_VARARGS,
      "The inode of a name in a directory, and when it was made (nanoseconds; 0 if unknown).\n"
      "An empty name stands for what the descriptor refers to." },
    { "is_made_by_kernel", is_made_by_kernel, METH_O,
      "Whether a descriptor's file is in a file system such as /proc, /sys or debugfs." },
    { "is_nfs", is_nfs, METH_O, "Whether a descriptor's file is on a server, by NFS." },
    { "ask_server", ask_server, METH_O,
      "Ask the server of a network file system about a descriptor's file, whatever is cached." },
    { "list_files", list_files, METH_VARARGS,
      "The files of a directory (descriptor) whose names end with a suffix, up to a number: name,\n"
      "inode, time of the last change (ctime) in nanoseconds, size. No link is followed." },
    { "open_beneath", open_beneath, METH_VARARGS,
      "Open a name in a directory (descriptor, name, flags, mode); see the module beneath." },
    { "run_libvirt_events", run_libvirt_events, METH_NOARGS,
      "Turn the event loop of libvirt, which must be loaded, until that fails." },
    { "sync_filesystem", sync_filesystem, METH_O,
      "Wait until all that was written to a descriptor's file system is on disk." },
    { 0 },
};

static struct PyModuleDef_Slot slots[] = { { 0 } };

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "virtlayer.keeper.calls",
    .m_doc = "System calls that Python does not have, or makes slowly; libvirt's event loop.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_calls(void)
{
    return PyModuleDef_Init(&definition);
}
