#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make a volume whose root has a password: ``create_volume.py IMAGE VOLUME [POOL] <PASSWORD``.

The password goes through a descriptor: it is in no message, which a monitor of the bus could read.
"""

import sys
from typing import Any

from gi.repository import Gio, GLib


def main(image: str, volume: str, pool: str = "default") -> None:
    """Start the job, wait for its end, and print the volume's path."""
    bus = Gio.bus_get_sync(Gio.BusType.SESSION)
    loop = GLib.MainLoop()
    ended: dict[str, tuple[str, str, str]] = {}

    def on_finished(*signal: Any) -> None:
        _number, path, result, error, message = signal[-1].unpack()
        ended[path] = (result, error, message)
        loop.quit()

    manager = ("org.virtlayer1", "/org/virtlayer1", "org.virtlayer1.Manager")
    service, path, interface = manager
    nothing = Gio.DBusSignalFlags.NONE
    bus.signal_subscribe(service, interface, "JobFinished", path, None, nothing, on_finished)

    # An "h" is the index of a descriptor in the list that goes with the message.
    descriptors = Gio.UnixFDList.new()
    options = {
        "root-password-fd": GLib.Variant("h", descriptors.append(sys.stdin.fileno())),
        "hostname": GLib.Variant("s", volume.removesuffix(".qcow2")),
    }
    arguments = GLib.Variant("(sssa{sv})", (pool, image, volume, options))
    call = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION
    reply, _descriptors = bus.call_with_unix_fd_list_sync(
        *manager, "CreateVolume", arguments, None, call, -1, descriptors
    )
    _number, job = reply.unpack()
    while job not in ended:
        loop.run()

    result, error, message = ended[job]
    if result != "done":
        raise SystemExit(f"{error or result}: {message}")
    proxy = Gio.DBusProxy.new_sync(bus, 0, None, service, job, "org.virtlayer1.Job")
    print(proxy.get_cached_property("Result").unpack()["path"])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        print("usage: create_volume.py IMAGE VOLUME [POOL] <PASSWORD", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
