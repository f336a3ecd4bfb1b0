/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inotify(7), which Python does not have: to learn when a log file grows or is rotated.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030d0000

#include <Python.h>
#include <stdio.h>
#include <sys/inotify.h>

static PyObject *new_watcher(PyObject *module, PyObject *none)
{
    int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    (void)module;
    (void)none;
    if (descriptor < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(descriptor);
}

/* Lets a watcher become readable when an open file is written, renamed or deleted. */
static PyObject *watch(PyObject *module, PyObject *arguments)
{
    char path[sizeof("/proc/self/fd/") + 11];
    int watcher, file;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "ii", &watcher, &file))
        return NULL;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (inotify_add_watch(watcher, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    { "new_watcher", new_watcher, METH_NOARGS, "A new inotify descriptor, which is the caller's." },
    { "watch", watch, METH_VARARGS,
      "Let an inotify descriptor become readable when a descriptor's file is changed or renamed." },
    { 0 },
};

static struct PyModuleDef_Slot slots[] = { { 0 } };

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "virtlayer.file_changes",
    .m_doc = "Learns when a file is changed or renamed.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_file_changes(void)
{
    return PyModuleDef_Init(&definition);
}
