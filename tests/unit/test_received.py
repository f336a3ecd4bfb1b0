# SPDX-License-Identifier: LGPL-2.1-or-later
"""Closing descriptors of others."""

import contextlib
import os
import socket
import struct

from tests.support.leftovers import nothing_left
from virtlayer.dbus.received import close_received


def test_lingering_socket_delays_no_reader() -> None:
    """close(2) of it waits until its peer has read everything, or for this time."""
    with nothing_left(), socket.create_server(("127.0.0.1", 0)) as server:
        lingering = socket.create_connection(server.getsockname())
        peer, _address = server.accept()
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
        lingering.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lingering.send(bytes(1_000_000))
        close_received([lingering.detach()])
        peer.close()


def test_closing_a_closed_descriptor_is_not_an_error() -> None:
    with nothing_left():
        reading, writing = os.pipe()
        os.close(reading)
        # Not the number of the one that is closed, which another file may have by now.
        close_received([10_000, writing])
