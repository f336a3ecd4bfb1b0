# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``plain.h`` declares, as cffi gives it to Python."""

from collections.abc import Buffer
from typing import Literal

class PlainHeader:
    """A ``struct vl_plain *``."""

class FFI:
    def new(self, kind: Literal["struct vl_plain *"], /) -> PlainHeader: ...
    def buffer(self, header: PlainHeader, /) -> Buffer: ...

class Lib:
    VL_TAR_BLOCK: int
    def vl_read_plain(self, block: bytes, header: PlainHeader, /) -> int: ...

ffi: FFI
lib: Lib
