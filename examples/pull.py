#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pull an image into a pool, with Gio: ``pull.py SOURCE [POOL]``."""

import sys
from typing import Any

from gi.repository import Gio, GLib

SERVICE, ROOT = "org.virtlayer1", "/org/virtlayer1"


class Pull:
    """One pull, from the call to its end."""

    def __init__(self) -> None:
        # Gio.BusType.SYSTEM is for the pools of qemu:///system.
        self._bus = Gio.bus_get_sync(Gio.BusType.SESSION)
        self._loop = GLib.MainLoop()
        self._job = ""
        self._end = ("", "", "")

    def run(self, source: str, pool: str) -> dict[str, Any]:
        """Pull, and return the result; an error ends the program."""
        # A small job may be over when the reply arrives: ask for its signals before it is there.
        for signal in ("ProgressChanged", "Finished"):
            self._bus.signal_subscribe(
                SERVICE,
                "org.virtlayer1.Job",
                signal,
                None,  # those of other jobs as well, told apart by their paths
                None,
                Gio.DBusSignalFlags.NONE,
                self._heard,
            )
        # An option that a method does not know is an error, and not ignored.
        options = {"tls-verify": GLib.Variant("b", True)}
        arguments = GLib.Variant("(ssa{sv})", (source, pool, options))
        _number, self._job = self._call(ROOT, "org.virtlayer1.Manager", "Pull", arguments)
        self._loop.run()

        result, error, message = self._end
        if result != "done":
            raise SystemExit(f"{error or result}: {message}")
        wanted = GLib.Variant("(ss)", ("org.virtlayer1.Job", "Result"))
        [outcome] = self._call(self._job, "org.freedesktop.DBus.Properties", "Get", wanted)
        return dict(outcome)

    def _heard(
        self,
        _bus: Gio.DBusConnection,
        _sender: str,
        path: str,
        _interface: str,
        signal: str,
        values: GLib.Variant,
    ) -> None:
        if path != self._job:
            return
        if signal == "Finished":
            self._end = values.unpack()
            self._loop.quit()
        else:
            progress, stage, done, total = values.unpack()
            print(f"{progress:4.0%} {stage} {done}/{total} bytes")

    def _call(self, path: str, interface: str, method: str, arguments: GLib.Variant) -> Any:
        # polkit may ask for a password.
        flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION
        try:
            reply = self._bus.call_sync(
                SERVICE, path, interface, method, arguments, None, flags, -1
            )
        except GLib.Error as error:
            name = Gio.DBusError.get_remote_error(error)
            Gio.DBusError.strip_remote_error(error)
            raise SystemExit(f"{name}: {error.message}") from None
        return reply.unpack()


def main(source: str, pool: str = "default") -> None:
    """Pull, and print where the image is."""
    print(Pull().run(source, pool)["path"])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: pull.py SOURCE [POOL]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
