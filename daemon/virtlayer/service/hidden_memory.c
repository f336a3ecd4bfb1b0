/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeps other processes of this process's user from its memory and descriptors, set from Python:
 * ctypes, which could do it as well, takes 0.7 MB of memory itself.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030d0000

#include <Python.h>
#include <sys/prctl.h>

static PyObject *hide(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    { "hide", hide, METH_NOARGS,
      "Refuse to be traced, also through /proc, and to write core dumps (PR_SET_DUMPABLE)." },
    { 0 },
};

static struct PyModuleDef_Slot slots[] = { { 0 } };

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "virtlayer.service.hidden_memory",
    .m_doc = "Hiding the memory and descriptors of this process.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_hidden_memory(void)
{
    return PyModuleDef_Init(&definition);
}
