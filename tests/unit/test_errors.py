# SPDX-License-Identifier: LGPL-2.1-or-later
"""The message of an error is one printable line, with the names and texts of others escaped."""

import pytest

from virtlayer.errors import InvalidArgument, VirtlayerError


@pytest.mark.parametrize("kind", [InvalidArgument, *VirtlayerError.__subclasses__()])
def test_a_message_is_one_printable_line(kind: type[VirtlayerError]) -> None:
    error = kind('The pool "a\nJob 7: done\u2028\x1b[2J\0\ud800é" is missing.')
    assert error.message == r'The pool "a\x0aJob 7: done\u2028\x1b[2J\x00\ud800é" is missing.'
    assert str(error) == error.message
