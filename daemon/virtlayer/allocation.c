/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sets how malloc(3) handles large blocks, from Python: ctypes, which could do it as well, takes
 * more memory itself than is often saved.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030d0000

#include <Python.h>
#include <malloc.h>

/* A size up to the largest one; 0 with an exception set if it is not one. */
static int size_of(PyObject *argument, long largest)
{
    long size = PyLong_AsLong(argument);

    if (size == -1 && PyErr_Occurred())
        return 0;
    if (size >= 1 && size <= largest)
        return (int)size;
    PyErr_Format(PyExc_ValueError, "malloc does not take %ld as a threshold", size);
    return 0;
}

static PyObject *map_from(PyObject *module, PyObject *argument)
{
    int size = size_of(argument, INT_MAX);

    (void)module;
    if (size && mallopt(M_MMAP_THRESHOLD, size) == 0)
        return PyErr_Format(PyExc_ValueError, "malloc does not take %d as a threshold", size);
    return size ? Py_NewRef(Py_None) : NULL;
}

/* With another malloc, which has no options, a process is only slower. */
static PyObject *keep_freed(PyObject *module, PyObject *argument)
{
    int size = size_of(argument, INT_MAX / 2);

    (void)module;
    if (size && mallopt(M_MMAP_THRESHOLD, size))
        mallopt(M_TRIM_THRESHOLD, 2 * size);
    return size ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef methods[] = {
    { "map_from", map_from, METH_O,
      "Let malloc(3) map blocks of so many bytes and more, and unmap them when they are freed.\n\n"
      "Left alone it does so at first, but takes freed ones for a sign to do it with larger ones\n"
      "only: the rest then stays a part of the process." },
    { "keep_freed", keep_freed, METH_O,
      "Let malloc(3) make blocks of up to so many bytes from what was freed before.\n\n"
      "It returns to the system only what exceeds twice as many." },
    { 0 },
};

static struct PyModuleDef_Slot slots[] = { { 0 } };

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "virtlayer.allocation",
    .m_doc = "How malloc(3) deals with large blocks.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_allocation(void)
{
    return PyModuleDef_Init(&definition);
}
