# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of the window's lists: a pool, an image, and a job with its bar and its button."""

from collections.abc import Callable

from gi.repository import Gtk, Pango
from service import Image, Job, Pool

_GIB = 1024**3
_TITLES = {
    "pull": "Pull {source} to {pool}",
    "create-volume": "Create a volume on {source} in {pool}",
    "create-domain": "Create a machine from {source} in {pool}",
    "start-domain": "Start {source}",
    "stop-domain": "Stop {source}",
    "remove-domain": "Remove the machine {source}",
    "remove": "Remove {source} from {pool}",
}


def title_of(job: Job) -> str:
    """Return the description of a job."""
    title = _TITLES.get(job.kind, "{kind} {source} in {pool}")
    return title.format(kind=job.kind.capitalize(), source=job.source, pool=job.pool)


class PoolRow(Gtk.ListBoxRow):
    """A pool: its name, and its free space or its state."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._name = _label()
        self._details = _label("dim-label", "caption")
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL)
        box.append(self._name)
        box.append(self._details)
        self.set_child(box)
        self.update(pool)

    def update(self, pool: Pool) -> None:
        """Show its present state."""
        self.pool = pool
        self._name.set_label(pool.name)
        free = f"{pool.available / _GIB:.1f} of {pool.capacity / _GIB:.1f} GiB free"
        of_other_kind = f"{pool.kind}: not for images"
        running = free if pool.takes_images else of_other_kind
        self._details.set_label(running if pool.state == "running" else pool.state)


class ImageRow(Gtk.ListBoxRow):
    """An image: its name, and its distinguishing details."""

    def __init__(self, image: Image) -> None:
        super().__init__()
        self._name = _label("heading")
        self._details = _label("dim-label", "caption")
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=2)
        _surround(box)
        box.append(self._name)
        box.append(self._details)
        self.set_child(box)
        self.update(image)

    def update(self, image: Image) -> None:
        """Show its present values."""
        self.image = image
        self._name.set_label(image.name)
        layers = "1 layer" if image.layers == 1 else f"{image.layers} layers"
        size = f"{image.size / _GIB:g} GiB"
        self._details.set_label(f"{layers}, up to {size}, {image.digest[:19]}...")


class JobRow(Gtk.ListBoxRow):
    """A job: what it does, how far it is, and a button to cancel it or dismiss a failed one."""

    def __init__(
        self, job: Job, cancel: Callable[[Job], None], dismiss: Callable[[Job], None]
    ) -> None:
        super().__init__(activatable=False)
        self._title = _label()
        self.bar = Gtk.ProgressBar(show_text=True, hexpand=True)
        self.cancel_button = Gtk.Button(label="Cancel", valign=Gtk.Align.CENTER)
        self.cancel_button.connect("clicked", lambda _button: cancel(self.job))
        self.dismiss_button = Gtk.Button(label="Dismiss", valign=Gtk.Align.CENTER)
        self.dismiss_button.connect("clicked", lambda _button: dismiss(self.job))
        self.message = _label("error", "caption")
        self.message.set_wrap(True)
        self.message.set_ellipsize(Pango.EllipsizeMode.NONE)
        words = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=4, hexpand=True)
        for widget in (self._title, self.bar, self.message):
            words.append(widget)
        box = Gtk.Box(spacing=12)
        _surround(box)
        box.append(words)
        box.append(self.cancel_button)
        box.append(self.dismiss_button)
        self.set_child(box)
        self.update(job)

    def update(self, job: Job) -> None:
        """Show its progress."""
        self.job = job
        self._title.set_label(title_of(job))
        self.bar.set_fraction(job.progress)
        self.bar.set_visible(not job.is_over)
        self.bar.set_text(f"{job.stage.capitalize() or 'Queued'} {job.progress:.0%}")
        self.message.set_label(job.message)
        self.message.set_visible(bool(job.message))
        self.cancel_button.set_visible(not job.is_over)
        self.dismiss_button.set_visible(job.is_over)


def _label(*classes: str) -> Gtk.Label:
    return Gtk.Label(xalign=0, ellipsize=Pango.EllipsizeMode.MIDDLE, css_classes=list(classes))


def _surround(widget: Gtk.Widget) -> None:
    for side in ("start", "end", "top", "bottom"):
        widget.set_property(f"margin-{side}", 8)
