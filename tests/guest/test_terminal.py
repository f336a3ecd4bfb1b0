# SPDX-License-Identifier: LGPL-2.1-or-later
"""The terminal, the input port and the power button of a machine with our init."""

import struct
from pathlib import Path

from tests.support.guest import boot, busybox_tree, ext4_of
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import CONTENT_LIMIT, HEADER, MARK, RecordKind

_LAST = 100_000
_SCRIPT = f"""
trap 'echo caught a signal; caught=yes' USR1
trap 'echo stopping; seq {_LAST}; exit 5' INT
(sleep 1000 >/dev/null; echo an orphan was not killed) &
echo "size $(stty size), term $TERM, $(tty)"
until [ "$caught" ]; do sleep 0.1; done
while read -r line; do echo "read <$line>"; done
echo end of input
while true; do sleep 0.1; done
"""
_SIGUSR1 = 10


def test_terminal_input_signals_and_power_button(tmp_path: Path) -> None:
    config = GuestConfig(
        arguments=("/bin/sh", "-c", _SCRIPT), terminal=True, interactive=True, stop_signal=2
    )
    with boot(tmp_path, ext4_of(busybox_tree(tmp_path), tmp_path), config) as guest:
        guest.connect()
        guest.send_bytes(b"noise" + HEADER.pack(MARK, RecordKind.STDIN, CONTENT_LIMIT + 1))
        guest.send(RecordKind.WINDOW_SIZE, struct.pack("<HH", 33, 77))
        guest.wait_for(RecordKind.TERMINAL, b"size 33 77, term xterm, /dev/pts/0\r\n")
        for kind, content in (
            (RecordKind.SIGNAL, b""),
            (RecordKind.SIGNAL, b"\0"),
            (RecordKind.SIGNAL, b"\xff"),
            (RecordKind.WINDOW_SIZE, b"\1"),
            (RecordKind.STDOUT, b"of the wrong port"),
            (RecordKind.SIGNAL, bytes([_SIGUSR1])),
        ):
            guest.send(kind, content)
        guest.wait_for(RecordKind.TERMINAL, b"caught a signal\r\n")
        guest.send(RecordKind.STDIN, b"some text\r")
        guest.wait_for(RecordKind.TERMINAL, b"read <some text>\r\n")
        guest.disconnect()
        guest.connect()
        guest.send(RecordKind.STDIN, b"after another client\r")
        guest.wait_for(RecordKind.TERMINAL, b"read <after another client>\r\n")
        guest.send(RecordKind.END_OF_INPUT)
        guest.wait_for(RecordKind.TERMINAL, b"end of input\r\n")
        guest.press_power_button()
        output = guest.wait_until_off()
    written = output.of(RecordKind.TERMINAL)
    numbers = "".join(f"{number}\r\n" for number in range(1, _LAST + 1))
    assert written.partition(b"stopping\r\n")[2].decode() == numbers
    assert b"orphan" not in written
    assert (output.status, output.failure) == (5, "")
