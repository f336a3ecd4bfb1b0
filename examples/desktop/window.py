# SPDX-License-Identifier: LGPL-2.1-or-later
"""The window: pools on the left, the images of one on the right, jobs below."""

from collections.abc import Callable, Mapping
from typing import Any

from details import DetailsButton, RemoveButton
from gi.repository import Gtk
from rows import ImageRow, JobRow, PoolRow, title_of
from service import Image, Job, Service

_EXAMPLE = "docker://docker.io/library/debian:13"


class Window(Gtk.ApplicationWindow):
    """Shows the images and jobs of virtlayerd, and starts the user's actions."""

    def __init__(self, application: Gtk.Application, service: Service) -> None:
        super().__init__(application=application, title="virtlayer")
        self.set_default_size(900, 640)
        self.service = service
        self._pool_rows: dict[str, PoolRow] = {}
        self._image_rows: dict[str, ImageRow] = {}
        self._job_rows: dict[str, JobRow] = {}
        self._running: set[str] = set()
        self._dismissed: set[str] = set()

        self.pool_list = Gtk.ListBox(css_classes=["navigation-sidebar"], vexpand=True)
        self.pool_list.set_placeholder(_dim_label("No pool in libvirt"))
        self.pool_list.connect("row-selected", lambda *_: self.refresh())

        self.source_entry = Gtk.Entry(hexpand=True, placeholder_text=f"Such as {_EXAMPLE}")
        self.source_entry.connect("activate", self._pull)
        self.source_entry.connect("changed", lambda *_: self._set_sensitive())
        self.tls_check = Gtk.CheckButton(label="Verify TLS", active=True)
        self.pull_button = Gtk.Button(label="Pull", css_classes=["suggested-action"])
        self.pull_button.connect("clicked", self._pull)

        self.image_list = Gtk.ListBox(css_classes=["boxed-list"], valign=Gtk.Align.START)
        self.image_list.set_placeholder(_dim_label("No image in this pool"))
        self.image_list.connect("row-selected", lambda *_: self._show_selection())
        self.details_button = DetailsButton()
        self.remove_button = RemoveButton(self._remove)
        self.volume_entry = Gtk.Entry(hexpand=True)
        self.volume_entry.connect("activate", self._create_volume)
        self.volume_entry.connect("changed", lambda *_: self._set_sensitive())
        self.volume_button = Gtk.Button(label="Create volume")
        self.volume_button.connect("clicked", self._create_volume)

        self.job_list = Gtk.ListBox(
            css_classes=["boxed-list"],
            selection_mode=Gtk.SelectionMode.NONE,
            valign=Gtk.Align.START,
        )
        self.job_list.set_placeholder(_dim_label("No job is running"))
        self.status_label = Gtk.Label(xalign=0, wrap=True, visible=False, css_classes=["dim-label"])
        self.error_label = Gtk.Label(
            xalign=0, wrap=True, selectable=True, visible=False, css_classes=["error"]
        )

        self.set_titlebar(Gtk.HeaderBar())
        self.set_child(self._layout())
        service.connect("changed", lambda *_: self.refresh())
        # Pools can change outside of virtlayer: a user who comes back sees the present ones.
        self.connect("notify::is-active", self._look_at_pools)
        self.refresh()

    @property
    def pool(self) -> str:
        """The name of the selected pool; empty if there is none."""
        row = self.pool_list.get_selected_row()
        return row.pool.name if row else ""

    @property
    def image(self) -> Image | None:
        """The selected image."""
        row = self.image_list.get_selected_row()
        return row.image if row else None

    def show_error(self, message: str) -> None:
        """Show an error, until the next action."""
        self.error_label.set_label(message)
        self.error_label.set_visible(bool(message))

    def refresh(self) -> None:
        """Show the present objects; existing rows keep their widgets."""
        pools = {one.name: one for one in self.service.pools}
        _synchronize(self.pool_list, self._pool_rows, pools, PoolRow)
        if not self.pool and pools:
            first = next(
                (one.name for one in pools.values() if one.takes_images), next(iter(pools))
            )
            self.pool_list.select_row(self._pool_rows[first])

        images = {one.path: one for one in self.service.images if one.pool == self.pool}
        _synchronize(self.image_list, self._image_rows, images, ImageRow)
        self._note_ends()
        jobs = {one.path: one for one in reversed(self.service.jobs) if self._is_shown(one)}
        _synchronize(
            self.job_list,
            self._job_rows,
            jobs,
            lambda job: JobRow(job, self.service.cancel, self._dismiss),
        )
        self._show_selection()

    def _is_shown(self, job: Job) -> bool:
        """Whether it runs, or has failed for a reason that was not dismissed."""
        return not job.is_over or (job.state == "failed" and job.path not in self._dismissed)

    def _note_ends(self) -> None:
        """Show the end of a job in one line, because its row is removed."""
        ended = [job for job in self.service.jobs if job.is_over and job.path in self._running]
        self._running = {job.path for job in self.service.jobs if not job.is_over}
        for job in ended:
            if job.state != "failed":
                self.status_label.set_label(f"{title_of(job)}: {job.state}")
                self.status_label.set_visible(True)
        if ended:
            self.service.look_at_pools()

    def _layout(self) -> Gtk.Widget:
        sidebar = _box(
            Gtk.Orientation.VERTICAL,
            _heading("Pools"),
            Gtk.ScrolledWindow(child=self.pool_list, vexpand=True),
        )
        sidebar.set_size_request(170, -1)
        pulling = _box(
            Gtk.Orientation.HORIZONTAL, self.source_entry, self.tls_check, self.pull_button
        )
        using = _box(
            Gtk.Orientation.HORIZONTAL,
            *(self.volume_entry, self.volume_button, self.details_button, self.remove_button),
        )
        images = _box(
            Gtk.Orientation.VERTICAL,
            *(pulling, _heading("Images")),
            *(Gtk.ScrolledWindow(child=self.image_list, vexpand=True), using),
        )
        jobs = _box(
            Gtk.Orientation.VERTICAL,
            *(_heading("Jobs"), Gtk.ScrolledWindow(child=self.job_list, vexpand=True)),
            *(self.status_label, self.error_label),
        )
        images.set_margin_bottom(8)
        jobs.set_margin_top(8)
        main = _paned(Gtk.Orientation.VERTICAL, images, jobs, position=370)
        main.set_margin_start(8)
        sidebar.set_margin_end(8)
        both = _paned(Gtk.Orientation.HORIZONTAL, sidebar, main, position=180)
        for side in ("start", "end", "top", "bottom"):
            both.set_property(f"margin-{side}", 12)
        return both

    def _show_selection(self) -> None:
        self.details_button.show_image(self.image)
        self.remove_button.show_image(self.image)
        name = self.image.name if self.image else ""
        hint = f"Name of a new volume on {name}" if name else "Select an image to create a volume"
        self.volume_entry.set_placeholder_text(hint)
        self._set_sensitive()

    def _set_sensitive(self) -> None:
        self.pull_button.set_sensitive(bool(self.pool and self._source()))
        self.volume_entry.set_sensitive(self.image is not None)
        can_create = self.image is not None and bool(self.volume_entry.get_text())
        self.volume_button.set_sensitive(can_create)

    def _source(self) -> str:
        return str(self.source_entry.get_text().strip())

    def _look_at_pools(self, *_call: object) -> None:
        if self.is_active() and self.service.is_awake:
            self.service.look_at_pools()

    def _pull(self, _widget: Gtk.Widget) -> None:
        if self.pool and self._source():
            self.show_error("")
            tls_verify = self.tls_check.get_active()
            self.service.pull(self._source(), self.pool, tls_verify=tls_verify)

    def _create_volume(self, _widget: Gtk.Widget) -> None:
        if self.image and self.volume_entry.get_text():
            self.show_error("")
            self.service.create_volume(self.image, self.volume_entry.get_text())

    def _remove(self, image: Image) -> None:
        self.show_error("")
        self.service.remove_image(image)

    def _dismiss(self, job: Job) -> None:
        self._dismissed.add(job.path)
        self.refresh()


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


def _box(orientation: Gtk.Orientation, *children: Gtk.Widget) -> Gtk.Box:
    box = Gtk.Box(orientation=orientation, spacing=8)
    for child in children:
        box.append(child)
    return box


def _paned(
    orientation: Gtk.Orientation, start: Gtk.Widget, end: Gtk.Widget, *, position: int
) -> Gtk.Paned:
    """Two widgets with a divider that the user can move."""
    return Gtk.Paned(
        orientation=orientation,
        start_child=start,
        end_child=end,
        position=position,
        shrink_start_child=False,
        shrink_end_child=False,
    )


def _heading(text: str) -> Gtk.Label:
    return Gtk.Label(label=text, xalign=0, css_classes=["heading"])


def _dim_label(text: str) -> Gtk.Label:
    return Gtk.Label(label=text, css_classes=["dim-label"], margin_top=12, margin_bottom=12)
