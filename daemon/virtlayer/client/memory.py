# SPDX-License-Identifier: LGPL-2.1-or-later
"""Passing secrets to the service in memory, which no other user can read."""

import contextlib
import os
from collections.abc import Iterator

from virtlayer.client.bus.values import Descriptor


@contextlib.contextmanager
def content_descriptor(content: bytes) -> Iterator[Descriptor]:
    """Yield a descriptor with this content."""
    descriptor = os.memfd_create("virtlayer", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield Descriptor(descriptor)
    finally:
        os.close(descriptor)
