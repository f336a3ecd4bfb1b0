# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program: one window on one bus."""

import gi

gi.require_version("Gtk", "4.0")

from gi.repository import Gio, Gtk  # noqa: E402 - after the version is chosen
from service import Service  # noqa: E402
from window import Window  # noqa: E402


class Desktop(Gtk.Application):
    """Shows the virtlayerd of a bus."""

    def __init__(self, bus_type: Gio.BusType) -> None:
        super().__init__(
            application_id="org.virtlayer1.Desktop", flags=Gio.ApplicationFlags.NON_UNIQUE
        )
        self._bus_type = bus_type

    def do_activate(self) -> None:
        """Open the window."""
        service = Service(self._bus_type, lambda message: window.show_error(message))
        window = Window(self, service)
        window.present()
