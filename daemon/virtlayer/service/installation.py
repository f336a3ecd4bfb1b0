# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks whether the system service can run: it needs its installed files and its own user.

Without the bus policy, the bus refuses the name. Without the polkit actions, all users except root
are refused. The check is before the first write, so that a start from a clone leaves nothing
behind.
"""

import os
import pwd
from collections.abc import Iterable, Iterator
from pathlib import Path

from virtlayer.service.keeper.reaching import SYSTEM_SOCKET

USER = "virtlayer"
_BUS_POLICY = "dbus-1/system.d/org.virtlayer1.conf"
_POLKIT_ACTIONS = "polkit-1/actions/org.virtlayer1.policy"
_SHARED = Path("/usr/share")
_PLACES = (_SHARED, Path("/usr/local/share"), Path("/etc"))

_HOW_TO_INSTALL = (
    'Install its packages: "make deb" and "apt install ./build/deb/*.deb". Or start a service of '
    'your own: "virtlayerd --session", for "virtlayer --user".'
)


def startup_problems() -> list[str]:
    """Return why this process cannot run the system service, a line each; none if it can."""
    if missing := list(_missing()):
        return [
            f"The system service is not installed. Missing: {', '.join(missing)}.",
            _HOW_TO_INSTALL,
        ]
    if os.geteuid() != pwd.getpwnam(USER).pw_uid:
        return [
            f'The system service runs as user "{USER}", not as user {_own_name()}.',
            'Start it with "systemctl start virtlayerd.service".',
        ]
    return []


def _missing() -> Iterator[str]:
    """Return the missing required files; and the socket, if one of them is missing."""
    parts = list(_missing_parts())
    yield from parts
    if parts and not SYSTEM_SOCKET.exists():
        yield f"the socket of virtlayer-keeper ({SYSTEM_SOCKET})"


def _missing_parts() -> Iterable[str]:
    for what, file in (("bus policy", _BUS_POLICY), ("polkit actions", _POLKIT_ACTIONS)):
        if not any((place / file).exists() for place in _PLACES):
            yield f"the {what} ({_SHARED / file})"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        yield f"the user {USER}"


def _own_name() -> str:
    uid = os.geteuid()
    try:
        return f'"{pwd.getpwuid(uid).pw_name}"'
    except KeyError:
        return str(uid)
