# SPDX-License-Identifier: LGPL-2.1-or-later
"""The window: pools on the left, the images of one on the right, jobs below."""

from collections.abc import Callable, Mapping
from typing import Any

from gi.repository import Gtk
from rows import ImageRow, JobRow
from service import Image, Service

_DEFAULT_POOL = "default"


class Window(Gtk.ApplicationWindow):
    """Shows what virtlayerd has, and starts what the user wants."""

    def __init__(self, application: Gtk.Application, service: Service) -> None:
        super().__init__(application=application, title="Images for machines")
        self.set_default_size(760, 520)
        self.service = service
        self._pools = [_DEFAULT_POOL]
        self._image_rows: dict[str, ImageRow] = {}
        self._job_rows: dict[str, JobRow] = {}

        self.pool_list = Gtk.ListBox(css_classes=["navigation-sidebar"], vexpand=True)
        self.pool_list.connect("row-selected", lambda *_: self.refresh())
        # D-Bus names the pools that have images; any other one the user knows.
        self.pool_entry = Gtk.Entry(placeholder_text="Another pool")
        self.pool_entry.connect("activate", self._add_pool)

        self.source_entry = Gtk.Entry(
            hexpand=True, placeholder_text="docker://docker.io/library/debian:13"
        )
        self.source_entry.connect("activate", self._pull)
        self.tls_check = Gtk.CheckButton(label="Verify TLS", active=True)
        self.pull_button = Gtk.Button(label="Pull", css_classes=["suggested-action"])
        self.pull_button.connect("clicked", self._pull)

        self.image_list = Gtk.ListBox(css_classes=["boxed-list"], valign=Gtk.Align.START)
        self.image_list.set_placeholder(_dim_label("No image in this pool"))
        self.image_list.connect("row-selected", lambda *_: self._set_sensitive())
        self.volume_entry = Gtk.Entry(hexpand=True, placeholder_text="Name of a new volume")
        self.volume_entry.connect("activate", self._create_volume)
        self.volume_entry.connect("changed", lambda *_: self._set_sensitive())
        self.volume_button = Gtk.Button(label="Create volume")
        self.volume_button.connect("clicked", self._create_volume)

        self.job_list = Gtk.ListBox(
            css_classes=["boxed-list"], selection_mode=Gtk.SelectionMode.NONE
        )
        self.job_list.set_placeholder(_dim_label("No job"))
        self.error_label = Gtk.Label(
            xalign=0, wrap=True, selectable=True, visible=False, css_classes=["error"]
        )

        self.set_titlebar(Gtk.HeaderBar())
        self.set_child(self._layout())
        service.connect("changed", lambda *_: self.refresh())
        self.refresh()
        self.pool_list.select_row(self.pool_list.get_row_at_index(0))

    @property
    def pool(self) -> str:
        """The selected pool."""
        row = self.pool_list.get_selected_row()
        return row.get_child().get_label() if row else _DEFAULT_POOL

    @property
    def image(self) -> Image | None:
        """The selected image."""
        row = self.image_list.get_selected_row()
        return row.image if row else None

    def show_error(self, message: str) -> None:
        """Say what went wrong, until something is tried again."""
        self.error_label.set_label(message)
        self.error_label.set_visible(bool(message))

    def refresh(self) -> None:
        """Show what there is now; rows of what was there before stay the same widgets."""
        for pool in [image.pool for image in self.service.images]:
            if pool not in self._pools:
                self._pools.append(pool)
        for pool in self._pools[_length(self.pool_list) :]:
            self.pool_list.append(Gtk.Label(label=pool, xalign=0))

        images = {one.path: one for one in self.service.images if one.pool == self.pool}
        _synchronize(self.image_list, self._image_rows, images, ImageRow)
        jobs = {one.path: one for one in reversed(self.service.jobs)}
        _synchronize(
            self.job_list, self._job_rows, jobs, lambda job: JobRow(job, self.service.cancel)
        )
        self._set_sensitive()

    def _layout(self) -> Gtk.Widget:
        sidebar = _box(Gtk.Orientation.VERTICAL, _heading("Pools"), self.pool_list, self.pool_entry)
        sidebar.set_size_request(150, -1)
        pulling = _box(
            Gtk.Orientation.HORIZONTAL, self.source_entry, self.tls_check, self.pull_button
        )
        creating = _box(Gtk.Orientation.HORIZONTAL, self.volume_entry, self.volume_button)
        images = Gtk.ScrolledWindow(child=self.image_list, vexpand=True)
        jobs = Gtk.ScrolledWindow(child=self.job_list, min_content_height=150)
        main = _box(
            Gtk.Orientation.VERTICAL,
            *(pulling, _heading("Images"), images, creating),
            *(_heading("Jobs"), jobs, self.error_label),
        )
        main.set_hexpand(True)
        both = _box(
            Gtk.Orientation.HORIZONTAL, sidebar, Gtk.Separator(orientation=Gtk.Orientation.VERTICAL)
        )
        both.append(main)
        for side in ("start", "end", "top", "bottom"):
            both.set_property(f"margin-{side}", 12)
        return both

    def _set_sensitive(self) -> None:
        can_create = self.image is not None and bool(self.volume_entry.get_text())
        self.volume_button.set_sensitive(can_create)

    def _add_pool(self, _widget: Gtk.Widget) -> None:
        pool = self.pool_entry.get_text().strip()
        if pool and pool not in self._pools:
            self._pools.append(pool)
            self.refresh()
        if pool:
            self.pool_entry.set_text("")
            self.pool_list.select_row(self.pool_list.get_row_at_index(self._pools.index(pool)))

    def _pull(self, _widget: Gtk.Widget) -> None:
        self.show_error("")
        source = self.source_entry.get_text().strip() or self.source_entry.get_placeholder_text()
        self.service.pull(source, self.pool, tls_verify=self.tls_check.get_active())

    def _create_volume(self, _widget: Gtk.Widget) -> None:
        self.show_error("")
        if self.image and self.volume_entry.get_text():
            self.service.create_volume(self.image, self.volume_entry.get_text())


def _synchronize[Value](
    box: Gtk.ListBox,
    rows: dict[str, Any],
    wanted: Mapping[str, Value],
    make: Callable[[Value], Gtk.ListBoxRow],
) -> None:
    """Make the rows of a list those that are wanted, in their order."""
    for path in set(rows) - set(wanted):
        box.remove(rows.pop(path))
    for position, (path, value) in enumerate(wanted.items()):
        if path in rows:
            rows[path].update(value)
        else:
            rows[path] = make(value)
            box.insert(rows[path], position)


def _length(box: Gtk.ListBox) -> int:
    return len(list(box))


def _box(orientation: Gtk.Orientation, *children: Gtk.Widget) -> Gtk.Box:
    box = Gtk.Box(orientation=orientation, spacing=8)
    for child in children:
        box.append(child)
    return box


def _heading(text: str) -> Gtk.Label:
    return Gtk.Label(label=text, xalign=0, css_classes=["heading"])


def _dim_label(text: str) -> Gtk.Label:
    return Gtk.Label(label=text, css_classes=["dim-label"], margin_top=12, margin_bottom=12)
