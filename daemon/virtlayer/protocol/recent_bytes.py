# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory that a download shares with its reader: a ring with the last bytes of a huge blob.

The service writes a huge blob past the page cache. With this memory, the worker that reads the
blob shortly afterwards does not wait for the disk.

Byte ``n`` of the blob is at ``n % SIZE``. Behind the ring, one number of 8 bytes says how many
bytes at the beginning of the blob may be overwritten already. It is raised one piece ahead of the
writing, and a reader looks at it after it has copied bytes: if they are lost, they are in the file.
"""

from virtlayer.sizes import KIB, MIB

PIECE = MIB
"""The bytes that are written to the file at once."""
PIECES = 8
SIZE = PIECES * PIECE
LENGTH = SIZE + 4 * KIB
"""The length of the memory file."""
