# SPDX-License-Identifier: LGPL-2.1-or-later
"""Extended attributes of nodes, by their full names, with values as setxattr(2) takes them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from virtlayer.worker.ext4.library import check, ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from virtlayer.worker.ext4._ext4 import AttributeArray, Writer


@contextmanager
def encoded(attributes: Mapping[bytes, bytes]) -> Iterator[AttributeArray]:
    """Attributes as the writer takes them, for as long as the context lasts."""
    # Sorted, so that the order of an archive's headers leaves no trace.
    fields = [
        (ffi.new("char[]", name), ffi.from_buffer(value), len(value))
        for name, value in sorted(attributes.items())
    ]
    yield ffi.new("struct vl_attribute[]", fields)


def write_attributes(writer: Writer, number: int, attributes: Mapping[bytes, bytes]) -> None:
    """Give a node these attributes and no others.

    Args:
        writer: The writer.
        number: The node.
        attributes: Values by names.

    Raises:
        AttributesTooLarge: They do not fit.
        Ext4Error: libext2fs refuses a name or value.
    """
    with encoded(attributes) as array:
        check(lib.vl_write_attributes(writer, number, array, len(attributes)))


def read_attributes(writer: Writer, number: int) -> dict[bytes, bytes]:
    """All extended attributes of a node.

    Raises:
        Ext4Error: They cannot be read.
        MemoryError: There was not enough memory for all of them.
    """
    found = ffi.new("struct vl_attributes *")
    check(lib.vl_read_attributes(writer, number, found))
    try:
        attributes = (found.all[at] for at in range(found.count))
        return {
            ffi.string(one.name): bytes(ffi.buffer(one.value, one.length)) for one in attributes
        }
    finally:
        lib.vl_forget_attributes(found)
