# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors that threads use."""

import os


class OwnedDescriptor(int):
    """A descriptor that is closed when nothing refers to it.

    A thread can go on after its request was cancelled, or after what the descriptor belongs to was
    discarded. If it had only the number, it could meet another file that got the same number.
    """

    _is_closed = False

    def close(self) -> None:
        """Close it now: no thread uses it."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self)

    def __del__(self) -> None:
        self.close()
