# SPDX-License-Identifier: LGPL-2.1-or-later
"""Uses the example's window as a user does; run by ``test_desktop.py``.

``/usr/bin/python3 drive_window.py SOURCE STUCK SCREENSHOT`` goes through the story below, and
prints what the window showed, as JSON. It types and clicks through the widgets themselves, and
waits for what they show, never for a time. STUCK is an image whose download stops in the middle.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "examples" / "desktop"))

from application import Desktop
from gi.repository import Gio, GLib, Gtk
from rows import ImageRow, JobRow, PoolRow
from window import Window

_LOOK_EVERY = 20
"""Milliseconds."""
_PATIENCE = 60
"""Seconds after which what the story waits for fails it."""

Condition = Callable[[], object]


def story(window: Window, source: str, stuck: str, screenshot: str) -> Iterator[Condition]:
    """Do something, yield what must come of it, go on."""
    yield lambda: pools(window)
    seen: dict[str, object] = {"pools": pools(window), "pool": window.pool}

    # An empty entry pulls nothing.
    seen["can pull nothing"] = window.pull_button.get_sensitive()
    window.source_entry.emit("activate")
    window.source_entry.set_text(source)
    window.pull_button.activate()
    yield lambda: images(window) and not jobs(window)
    seen["after the pull"] = window.status_label.get_text()
    seen["images"] = [row.image.name for row in images(window)]
    seen["image"] = texts(images(window)[0])

    seen["hint without a selection"] = window.volume_entry.get_placeholder_text()
    window.image_list.select_row(images(window)[0])
    window.details_button.popup()
    yield lambda: texts(window.details_button.grid)
    seen["details"] = texts(window.details_button.grid)
    window.details_button.popdown()
    seen["can create without a name"] = window.volume_button.get_sensitive()
    window.volume_entry.set_text("web.qcow2")
    window.volume_button.activate()
    yield lambda: "Create a volume" in window.status_label.get_text() and not jobs(window)
    seen["after the volume"] = window.status_label.get_text()

    # The same name again: the job fails, and its row says why.
    window.volume_button.activate()
    yield lambda: jobs(window) and jobs(window)[0].message.get_mapped()
    seen["failed"] = jobs(window)[0].message.get_text()

    # No job comes of what is no reference at all.
    window.source_entry.set_text("docker://UPPER/..")
    window.pull_button.activate()
    yield window.error_label.get_visible
    seen["refused"] = window.error_label.get_text()

    window.source_entry.set_text(stuck)
    window.tls_check.set_active(False)
    window.pull_button.activate()
    yield lambda: jobs(window)[0].job.source == stuck and jobs(window)[0].bar.get_fraction() > 0
    # What has failed stays, with its reason, until it is dismissed.
    seen["jobs"] = [row.job.state for row in jobs(window)]
    seen["bar"] = jobs(window)[0].bar.get_fraction()
    seen["bar text"] = jobs(window)[0].bar.get_text()
    seen["error goes"] = not window.error_label.get_visible()
    # Between a change of its rows and the next frame, a window has no picture.
    yield lambda: save_picture(window, screenshot)
    jobs(window)[0].cancel_button.activate()
    yield lambda: len(jobs(window)) == 1
    seen["after the cancel"] = window.status_label.get_text()
    jobs(window)[0].dismiss_button.activate()
    yield lambda: not jobs(window)

    # The volume needs the image.
    window.remove_button.popup()
    yield window.remove_button.confirm_button.get_mapped
    window.remove_button.confirm_button.activate()
    yield lambda: jobs(window) and jobs(window)[0].message.get_mapped()
    seen["not removed"] = jobs(window)[0].message.get_text()
    jobs(window)[0].dismiss_button.activate()

    window.pool_list.select_row(window.pool_list.get_row_at_index(1))
    yield lambda: window.pool == "other"
    seen["images in other"] = [row.image.name for row in images(window)]
    window.source_entry.set_text(source)
    window.pull_button.activate()
    yield lambda: images(window) and not jobs(window)
    window.image_list.select_row(images(window)[0])
    window.remove_button.popup()
    yield window.remove_button.confirm_button.get_mapped
    window.remove_button.confirm_button.activate()
    yield lambda: not images(window) and not jobs(window)
    seen["after the removal"] = window.status_label.get_text()

    # When the daemon ends, the window goes on showing what it knew.
    end_daemon()
    yield lambda: not window.service.is_awake
    window.pool_list.select_row(window.pool_list.get_row_at_index(0))
    seen["images without a daemon"] = [row.image.name for row in images(window)]
    sys.stdout.write(json.dumps(seen))


def images(window: Window) -> list[ImageRow]:
    """The rows of images, from the top."""
    return [row for row in window.image_list if isinstance(row, ImageRow)]


def jobs(window: Window) -> list[JobRow]:
    """The rows of jobs, the latest first."""
    return [row for row in window.job_list if isinstance(row, JobRow)]


def pools(window: Window) -> list[str]:
    """The text of the list of pools."""
    return [row.pool.name for row in window.pool_list if isinstance(row, PoolRow)]


def texts(widget: Gtk.Widget) -> list[str]:
    """The labels in a widget that can be seen."""
    if isinstance(widget, Gtk.Label):
        return [widget.get_text()] if widget.get_mapped() else []
    found = []
    child = widget.get_first_child()
    while child:
        found += texts(child)
        child = child.get_next_sibling()
    return found


def end_daemon() -> None:
    """End virtlayerd as its idle timer would."""
    bus = Gio.bus_get_sync(Gio.BusType.SESSION)
    name, path = "org.freedesktop.DBus", "/org/freedesktop/DBus"
    owner = GLib.Variant("(s)", ("org.virtlayer1",))
    flags = Gio.DBusCallFlags.NONE
    reply = bus.call_sync(
        name, path, name, "GetConnectionUnixProcessID", owner, None, flags, -1, None
    )
    os.kill(reply.unpack()[0], signal.SIGTERM)


def save_picture(window: Window, path: str) -> bool:
    """Write what the window shows to a PNG file; whether it shows anything."""
    paintable = Gtk.WidgetPaintable.new(window)
    width, height = window.get_width(), window.get_height()
    snapshot = Gtk.Snapshot.new()
    paintable.snapshot(snapshot, width, height)
    node = snapshot.to_node()
    if node is None:
        return False
    window.get_renderer().render_texture(node, None).save_to_png(path)
    return True


class Reader:
    """Tells a story to a window, and ends the program after it."""

    def __init__(self, application: Desktop, arguments: list[str]) -> None:
        self.failure = ""
        self._application = application
        self._arguments = arguments
        self._story: Iterator[Condition] | None = None
        self._condition: Condition = lambda: True
        self._since = GLib.get_monotonic_time()

    def look(self) -> bool:
        """Go on with the story if what it waits for is there."""
        windows = self._application.get_windows()
        if not windows or not windows[0].get_mapped():
            return self._in_time()
        self._story = self._story or story(windows[0], *self._arguments)
        try:
            if not self._condition():
                return self._in_time()
            self._condition = next(self._story)
        except StopIteration:
            self._application.quit()
            return False
        except Exception:
            # GLib would continue without this callback, and the window would never close.
            self.failure = traceback.format_exc()
            self._application.quit()
            return False
        self._since = GLib.get_monotonic_time()
        return True

    def _in_time(self) -> bool:
        if GLib.get_monotonic_time() - self._since < _PATIENCE * 1_000_000:
            return True
        windows = self._application.get_windows()
        self.failure = f"the window shows {texts(windows[0]) if windows else 'nothing'}"
        self._application.quit()
        return False


def main() -> None:
    """Open the window, go through the story, close it."""
    application = Desktop(Gio.BusType.SESSION)
    reader = Reader(application, sys.argv[1:])
    GLib.timeout_add(_LOOK_EVERY, reader.look)
    application.run(None)
    if reader.failure:
        sys.exit(reader.failure)


if __name__ == "__main__":
    main()
