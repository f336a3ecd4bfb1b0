# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compiles ``_plain``: the reader of plain tar headers. It needs no library."""

from pathlib import Path

from cffi import FFI

DECLARATIONS = """
#define VL_TAR_BLOCK ...
struct vl_plain {
    int64_t mode;
    int64_t uid;
    int64_t gid;
    int64_t size;
    int64_t mtime;
    uint16_t name_length;
    uint16_t prefix_length;
    uint16_t link_length;
};
int vl_read_plain(const unsigned char *block, struct vl_plain *header);
"""

HERE = Path(__file__).parent

ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "virtlayer.worker.archive._plain",
    '#include "plain.h"',
    # Relative, as setuptools wants the sources of an extension.
    sources=["daemon/virtlayer/worker/archive/plain.c"],
    include_dirs=[str(HERE)],
    depends=[str(HERE / "plain.h")],
    extra_compile_args=["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter"],
)
