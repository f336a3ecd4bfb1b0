#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pull an image into a pool, with Gio: ``pull.py SOURCE [POOL]``."""

import sys

from gi.repository import Gio, GLib


def main(source: str, pool: str = "default") -> None:
    """Start a pull, print how far it is, and what came of it."""
    # Gio.BusType.SYSTEM is for the pools of qemu:///system.
    bus = Gio.bus_get_sync(Gio.BusType.SESSION)
    loop = GLib.MainLoop()
    ended: list[tuple[str, str, str]] = []

    def on_progress(_bus: object, _sender: str, path: str, *call: object) -> None:
        progress, stage, done, total = call[-1].unpack()
        if path == job:
            print(f"{progress:4.0%} {stage} {done}/{total} bytes")

    def on_finished(_bus: object, _sender: str, path: str, *call: object) -> None:
        if path == job:
            ended.append(call[-1].unpack())
            loop.quit()

    # A small job may be over when the reply arrives: ask for its signals before it is there.
    for signal, callback in (("ProgressChanged", on_progress), ("Finished", on_finished)):
        bus.signal_subscribe(
            "org.virtlayer1",
            "org.virtlayer1.Job",
            signal,
            None,  # the jobs of others as well, told apart by their paths
            None,
            Gio.DBusSignalFlags.NONE,
            callback,
        )
    # Wrong options are errors with their names, not ignored.
    options = {"tls-verify": GLib.Variant("b", True)}
    _number, job = call(bus, "Pull", GLib.Variant("(ssa{sv})", (source, pool, options)))
    loop.run()

    [(result, error, message)] = ended
    if result != "done":
        raise SystemExit(f"{error or result}: {message}")
    [outcome] = call(
        bus,
        "Get",
        GLib.Variant("(ss)", ("org.virtlayer1.Job", "Result")),
        path=job,
        interface="org.freedesktop.DBus.Properties",
    )
    print(outcome["path"])


def call(
    bus: Gio.DBusConnection,
    method: str,
    arguments: GLib.Variant,
    path: str = "/org/virtlayer1",
    interface: str = "org.virtlayer1.Manager",
) -> tuple:
    """Call a method of virtlayerd; a D-Bus error is the end, with its name and message."""
    try:
        reply = bus.call_sync(
            "org.virtlayer1",
            path,
            interface,
            method,
            arguments,
            None,
            Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION,  # polkit may ask for a password
            -1,
        )
    except GLib.Error as error:
        name = Gio.DBusError.get_remote_error(error)
        Gio.DBusError.strip_remote_error(error)
        raise SystemExit(f"{name}: {error.message}") from None
    return reply.unpack()


if __name__ == "__main__":
    main(*sys.argv[1:])
