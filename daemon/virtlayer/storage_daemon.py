# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every qemu-storage-daemon runs with, whichever process starts it."""

from collections.abc import Mapping

ENVIRONMENT: Mapping[str, str] = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864"
}
"""It allocates memory for each request. By default malloc(3) maps what is as large as a write, and
the kernel clears it: a third of all that the program does."""
