# SPDX-License-Identifier: LGPL-2.1-or-later
"""The addresses of the two buses, for the daemon and for its client."""

import os


def bus_address(*, session: bool) -> str:
    """The address of the session or the system bus.

    Follows the D-Bus specification, "Well-known Message Bus Instances"; and if no variable names a
    session bus, the one of the user's systemd is used, as in sd-bus.
    """
    if session:
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"
