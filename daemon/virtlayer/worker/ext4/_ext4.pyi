# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``node.h``, ``writer.h`` and ``errors.h`` declare, as cffi gives it to Python.

Functions that write into what they are passed have a cell for it, whose item 0 is the result.
"""

from collections.abc import Buffer, Sequence
from typing import Literal, overload

class Writer:
    """A ``struct vl_writer *``."""

class Bytes:
    """A pointer to bytes."""

class Node:
    """A ``struct vl_node *``."""

    number: int
    kind: int
    mode: int
    uid: int
    gid: int
    major: int
    minor: int
    seconds: int
    nanoseconds: int
    size: int
    has_attributes: int

class Space:
    """A ``struct vl_space *``."""

    size: int
    free_bytes: int
    free_inodes: int

class Attribute:
    """A ``struct vl_attribute``."""

    name: Bytes
    value: Bytes
    length: int

class AttributeArray:
    def __getitem__(self, index: int, /) -> Attribute: ...

class Attributes:
    """A ``struct vl_attributes *``."""

    all: AttributeArray
    count: int

class Segments:
    """An array of ``struct vl_segment``."""

class Numbers:
    """An array of numbers."""

class Listing:
    """A ``struct vl_listing *``."""

    parent: int
    names: Bytes
    length: int
    values: Numbers
    count: int

class WriterCell:
    def __getitem__(self, index: Literal[0], /) -> Writer: ...

class NumberCell:
    def __getitem__(self, index: Literal[0], /) -> int: ...

class FFI:
    NULL: Bytes
    @overload
    def new(self, kind: Literal["struct vl_writer **"], /) -> WriterCell: ...
    @overload
    def new(self, kind: Literal["uint32_t *", "uint64_t *", "size_t *"], /) -> NumberCell: ...
    @overload
    def new(self, kind: Literal["struct vl_node *"], fields: dict[str, int] = ..., /) -> Node: ...
    @overload
    def new(self, kind: Literal["struct vl_space *"], /) -> Space: ...
    @overload
    def new(self, kind: Literal["struct vl_attributes *"], /) -> Attributes: ...
    @overload
    def new(self, kind: Literal["struct vl_listing *"], /) -> Listing: ...
    @overload
    def new(
        self,
        kind: Literal["struct vl_attribute[]"],
        fields: Sequence[tuple[Bytes, Bytes, int]],
        /,
    ) -> AttributeArray: ...
    @overload
    def new(
        self, kind: Literal["struct vl_segment[]"], fields: Sequence[tuple[int, int]], /
    ) -> Segments: ...
    @overload
    def new(self, kind: Literal["uint32_t[]"], numbers: Sequence[int], /) -> Numbers: ...
    @overload
    def new(self, kind: Literal["char[]"], content: bytes | int, /) -> Bytes: ...
    @overload
    def from_buffer(self, data: Buffer, /) -> Bytes: ...
    @overload
    def from_buffer(self, kind: Literal["uint64_t[]"], data: Buffer, /) -> Numbers: ...
    def buffer(self, data: Bytes, size: int, /) -> memoryview: ...
    def unpack(self, numbers: Numbers, count: int, /) -> list[int]: ...
    def string(self, data: Bytes, /) -> bytes: ...

class Lib:
    VL_ROOT: int
    VL_BLOCK_SIZE: int
    VL_LINK_LIMIT: int
    VL_IDENTITY_SIZE: int

    VL_REGULAR: int
    VL_DIRECTORY: int
    VL_CHARACTER_DEVICE: int
    VL_BLOCK_DEVICE: int
    VL_FIFO: int
    VL_SOCKET: int
    VL_SYMLINK: int

    VL_OTHER_ERROR: int
    VL_NO_MEMORY: int
    VL_FILESYSTEM_FULL: int
    VL_DEVICE_FULL: int
    VL_SERVER_HANGS: int
    VL_FOREIGN_FILESYSTEM: int
    VL_ATTRIBUTES_TOO_LARGE: int
    VL_DIRECTORY_TOO_LARGE: int
    VL_TOO_MANY_LINKS: int
    VL_CANNOT_GROW: int

    def vl_meaning_of(self, code: int, /) -> int: ...
    def vl_message_of(self, code: int, /) -> Bytes: ...
    def vl_format(
        self, descriptor: int, deadline: int, size: int, identity: bytes, writer: WriterCell, /
    ) -> int: ...
    def vl_open(self, descriptor: int, deadline: int, writer: WriterCell, /) -> int: ...
    def vl_close(self, writer: Writer, /) -> None: ...
    def vl_flush(self, writer: Writer, /) -> int: ...
    def vl_leave(self, writer: Writer, /) -> int: ...
    def vl_go_on(self, writer: Writer, descriptor: int, /) -> int: ...
    def vl_grow(self, writer: Writer, size: int, limit: NumberCell, /) -> int: ...
    def vl_measure(self, writer: Writer, space: Space, /) -> None: ...
    def vl_read_ahead(self, writer: Writer, numbers: Numbers, count: int, /) -> int: ...
    def vl_add_node(
        self, writer: Writer, node: Node, content: Bytes, length: int, number: NumberCell, /
    ) -> int: ...
    def vl_add_file(
        self,
        writer: Writer,
        node: Node,
        size: int,
        segments: Segments,
        count: int,
        number: NumberCell,
        /,
    ) -> int: ...
    def vl_write_file(self, writer: Writer, data: Bytes, length: int, /) -> int: ...
    def vl_read_node(self, writer: Writer, number: int, node: Node, /) -> int: ...
    def vl_next_node(self, writer: Writer, node: Node, /) -> int: ...
    def vl_read_content(
        self, writer: Writer, number: int, content: Bytes, room: int, length: NumberCell, /
    ) -> int: ...
    def vl_read_part(
        self,
        writer: Writer,
        number: int,
        offset: int,
        content: Bytes,
        room: int,
        length: NumberCell,
        /,
    ) -> int: ...
    def vl_set_metadata(
        self, writer: Writer, node: Node, attributes: AttributeArray, count: int, /
    ) -> int: ...
    def vl_set_owner(self, writer: Writer, node: Node, /) -> int: ...
    def vl_add_link(self, writer: Writer, number: int, /) -> int: ...
    def vl_remove_link(self, writer: Writer, number: int, is_directory: bool, /) -> int: ...
    def vl_write_attributes(
        self, writer: Writer, number: int, attributes: AttributeArray, count: int, /
    ) -> int: ...
    def vl_read_attributes(self, writer: Writer, number: int, attributes: Attributes, /) -> int: ...
    def vl_forget_attributes(self, attributes: Attributes, /) -> None: ...
    def vl_read_directory(self, writer: Writer, number: int, listing: Listing, /) -> int: ...
    def vl_list_block(self, listing: Listing, block: bytes, size: int, /) -> int: ...
    def vl_forget_listing(self, listing: Listing, /) -> None: ...
    def vl_write_directory(
        self,
        writer: Writer,
        number: int,
        parent: int,
        names: bytes,
        length: int,
        values: Numbers,
        count: int,
        /,
    ) -> int: ...

ffi: FFI
lib: Lib
