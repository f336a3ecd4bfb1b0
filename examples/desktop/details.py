# SPDX-License-Identifier: LGPL-2.1-or-later
"""The buttons for the selected image: its details, and a question before it is removed."""

from collections.abc import Callable
from datetime import datetime

from gi.repository import Gtk
from service import Image

_GIB = 1024**3
_HIDDEN = "only shown to the user who pulled it"


class DetailsButton(Gtk.MenuButton):
    """Shows the details of an image."""

    def __init__(self) -> None:
        super().__init__(label="Details", sensitive=False)
        self._image: Image | None = None
        self.grid = Gtk.Grid(column_spacing=12, row_spacing=4)
        self.set_popover(_popover(self.grid))

    def show_image(self, image: Image | None) -> None:
        """Show the details of this image; None for none."""
        if image == self._image:
            return
        self._image = image
        self.set_sensitive(image is not None)
        while child := self.grid.get_first_child():
            self.grid.remove(child)
        if image is None:
            return
        fields = {
            "Name": image.name,
            "Source": image.source or _HIDDEN,
            "Digest": image.digest or _HIDDEN,
            "Platform": image.platform,
            "Pulled": datetime.fromtimestamp(image.pulled_at).astimezone().strftime("%c"),
            "Layers": str(image.layers) if image.layers else _HIDDEN,
            "Virtual size": f"{image.size / _GIB:g} GiB",
        }
        for row, (name, value) in enumerate(fields.items()):
            self.grid.attach(
                Gtk.Label(label=name, xalign=1, css_classes=["dim-label"]), 0, row, 1, 1
            )
            self.grid.attach(Gtk.Label(label=value, xalign=0, selectable=True), 1, row, 1, 1)


class RemoveButton(Gtk.MenuButton):
    """Asks before it removes an image."""

    def __init__(self, remove: Callable[[Image], None]) -> None:
        super().__init__(label="Remove", sensitive=False)
        self._image: Image | None = None
        self._remove = remove
        self._question = Gtk.Label(xalign=0)
        self.confirm_button = Gtk.Button(label="Remove", css_classes=["destructive-action"])
        self.confirm_button.connect("clicked", self._confirmed)
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=8)
        box.append(self._question)
        box.append(self.confirm_button)
        self.set_popover(_popover(box))

    def show_image(self, image: Image | None) -> None:
        """Ask about this image; None for none."""
        self._image = image
        self.set_sensitive(image is not None)
        name = image.name if image else ""
        self._question.set_label(f"Remove {name}, and the layers that nothing else uses?")

    def _confirmed(self, _button: Gtk.Button) -> None:
        self.popdown()
        if self._image:
            self._remove(self._image)


def _popover(child: Gtk.Widget) -> Gtk.Popover:
    for side in ("start", "end", "top", "bottom"):
        child.set_property(f"margin-{side}", 6)
    return Gtk.Popover(child=child)
