# SPDX-License-Identifier: LGPL-2.1-or-later
"""The addresses of the two buses, for the daemon and for its client."""

import os
from urllib.parse import unquote


def bus_address(*, session: bool) -> str:
    """The address of the session or the system bus.

    Follows the D-Bus specification, "Well-known Message Bus Instances"; and if no variable names a
    session bus, the one of the user's systemd is used, as in sd-bus.
    """
    if session:
        runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"


def socket_name(address: str) -> str:
    """Return the name of the first Unix socket in an address, as ``connect`` takes it.

    The format is that of the D-Bus Specification 0.43, "Server Addresses".

    Raises:
        ValueError: There is none.
    """
    for one in address.split(";"):
        transport, _, rest = one.partition(":")
        pairs = (pair.partition("=") for pair in rest.split(","))
        values = {key: unquote(value) for key, _, value in pairs}
        if transport == "unix" and "path" in values:
            return values["path"]
        if transport == "unix" and "abstract" in values:
            return f"\0{values['abstract']}"
    raise ValueError("the address has no Unix socket")
