# SPDX-License-Identifier: LGPL-2.1-or-later
"""A window for images, volumes and jobs: ``/usr/bin/python3 examples/desktop [--user]``.

It knows nothing but the D-Bus interface, and needs Debian's python3-gi and gir1.2-gtk-4.0.
"""

import sys

from application import Desktop
from gi.repository import Gio

if __name__ == "__main__":
    user = "--user" in sys.argv[1:]
    desktop = Desktop(Gio.BusType.SESSION if user else Gio.BusType.SYSTEM)
    sys.exit(desktop.run(sys.argv[:1]))
