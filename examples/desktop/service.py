# SPDX-License-Identifier: LGPL-2.1-or-later
"""The objects of virtlayerd for a window: its images and jobs, their changes, and failed calls.

No call blocks: every reply goes to a callback, so that the window stays responsive.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gi.repository import Gio, GLib, GObject

_NAME = "org.virtlayer1"
_ROOT = "/org/virtlayer1"
_MANAGER, _JOB, _IMAGE = (f"{_NAME}.{kind}" for kind in ("Manager", "Job", "Image"))

Failed = Callable[[str], None]
"""Gets the message of an error."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of libvirt."""

    name: str
    kind: str
    state: str
    capacity: int
    """In bytes; 0 if it is not active."""
    available: int
    """In bytes."""

    @property
    def takes_images(self) -> bool:
        """Whether images can be pulled into it."""
        return self.state == "running" and self.kind in ("dir", "fs", "netfs")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that a pool has."""

    path: str
    pool: str
    name: str
    source: str
    """Empty if this user may not see it; so is ``digest``."""
    digest: str
    platform: str
    pulled_at: int
    """In seconds since 1970."""
    size: int
    """Virtual size in bytes."""
    layers: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job with its progress."""

    path: str
    kind: str
    source: str
    pool: str
    state: str
    stage: str
    progress: float
    """From 0 to 1."""
    message: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in ("done", "failed", "cancelled")


class Service(GObject.Object):
    """The objects of virtlayerd.

    ``changed`` is emitted when any of them was added, removed or changed. The daemon exits when it
    is idle, and its objects leave the bus. Their last state is kept until the daemon is back.
    """

    __gsignals__ = {"changed": (GObject.SignalFlags.RUN_FIRST, None, ())}  # noqa: RUF012 - PyGObject's

    def __init__(self, bus_type: Gio.BusType, failed: Failed) -> None:
        super().__init__()
        self.pools: list[Pool] = []
        self.images: list[Image] = []
        self.jobs: list[Job] = []
        self._failed = failed
        self._progress: dict[str, tuple[float, str]] = {}
        self._objects: Gio.DBusObjectManagerClient | None = None
        Gio.DBusObjectManagerClient.new_for_bus(
            bus_type,
            Gio.DBusObjectManagerClientFlags.NONE,
            _NAME,
            _ROOT,
            None,
            None,
            None,
            self._connected,
        )

    @property
    def is_awake(self) -> bool:
        """Whether the daemon is on the bus just now."""
        return self._objects is not None and self._objects.get_name_owner() is not None

    def look_at_pools(self) -> None:
        """Ask for the pools: libvirt does not signal all changes of them."""
        self._call(_ROOT, _MANAGER, "ListPools", None, self._got_pools)

    def pull(self, source: str, pool: str, *, tls_verify: bool = True) -> None:
        """Start a pull; it shows among the jobs."""
        options = {"tls-verify": GLib.Variant("b", tls_verify)}
        self._call(_ROOT, _MANAGER, "Pull", GLib.Variant("(ssa{sv})", (source, pool, options)))

    def create_volume(self, image: Image, volume: str) -> None:
        """Start to make a writable volume on an image; it shows among the jobs."""
        arguments = GLib.Variant("(sssa{sv})", (image.pool, image.name, volume, {}))
        self._call(_ROOT, _MANAGER, "CreateVolume", arguments)

    def remove_image(self, image: Image) -> None:
        """Start to remove an image; it shows among the jobs."""
        arguments = GLib.Variant("(ssa{sv})", (image.pool, image.name, {}))
        self._call(_ROOT, _MANAGER, "RemoveImage", arguments)

    def cancel(self, job: Job) -> None:
        """End a job."""
        self._call(job.path, _JOB, "Cancel", None)

    def _connected(self, _source: object, result: Gio.AsyncResult) -> None:
        try:
            objects = Gio.DBusObjectManagerClient.new_for_bus_finish(result)
        except GLib.Error as error:
            self._failed(error.message)
            return
        self._objects = objects
        objects.connect("notify::name-owner", self._read)
        objects.connect("object-added", self._read)
        objects.connect("object-removed", self._read)
        objects.connect("interface-proxy-properties-changed", self._read)
        objects.connect("interface-proxy-signal", self._heard)
        self._read()
        self.look_at_pools()

    def _got_pools(self, pools: list[tuple[str, str, str, int, int]]) -> None:
        self.pools = [Pool(*one) for one in pools]
        self.emit("changed")

    def _heard(self, *call: Any) -> None:
        """Note progress, which has a signal of its own: it changes too often for the usual one."""
        _objects, _object, proxy, _sender, signal, values = call
        if signal == "ProgressChanged":
            progress, stage, _done, _total = values.unpack()
            self._progress[proxy.get_object_path()] = (progress, stage)
            self._read()

    def _read(self, *_call: object) -> None:
        objects = self._objects
        if objects is None or not self.is_awake:
            return
        images, jobs = [], []
        for one in objects.get_objects():
            if image := one.get_interface(_IMAGE):
                images.append(_image(image))
            elif job := one.get_interface(_JOB):
                jobs.append(_job(job, self._progress.get(one.get_object_path(), (0.0, ""))))
        self.images = sorted(images, key=lambda image: (image.pool, image.name))
        self.jobs = sorted(jobs, key=lambda job: int(job.path.rpartition("/")[2]))
        self.emit("changed")

    def _call(
        self,
        path: str,
        interface: str,
        method: str,
        arguments: GLib.Variant | None,
        then: Callable[[Any], None] = lambda _reply: None,
    ) -> None:
        objects = self._objects
        if objects is None:
            self._failed("There is no connection to the bus yet.")
            return
        # polkit may ask for a password, which takes as long as the user does.
        objects.get_connection().call(
            _NAME,
            path,
            interface,
            method,
            arguments,
            None,
            Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION,
            GLib.MAXINT,
            None,
            self._replied,
            then,
        )

    def _replied(
        self,
        connection: Gio.DBusConnection,
        result: Gio.AsyncResult,
        then: Callable[[Any], None],
    ) -> None:
        try:
            reply = connection.call_finish(result)
        except GLib.Error as error:
            Gio.DBusError.strip_remote_error(error)
            self._failed(error.message)
            return
        then(reply.unpack()[0] if reply.n_children() else None)


def _image(proxy: Gio.DBusProxy) -> Image:
    return Image(
        path=proxy.get_object_path(),
        pool=_property(proxy, "Pool"),
        name=_property(proxy, "Name"),
        source=_property(proxy, "Source"),
        digest=_property(proxy, "Digest"),
        platform=f"{_property(proxy, 'Os')}/{_property(proxy, 'Architecture')}",
        pulled_at=_property(proxy, "PulledAt") // 1_000_000,
        size=_property(proxy, "Size"),
        layers=len(_property(proxy, "Layers")),
    )


def _job(proxy: Gio.DBusProxy, heard: tuple[float, str]) -> Job:
    progress, stage = heard
    return Job(
        path=proxy.get_object_path(),
        kind=_property(proxy, "Kind"),
        source=_property(proxy, "Source"),
        pool=_property(proxy, "Pool"),
        state=_property(proxy, "State"),
        stage=stage or _property(proxy, "Stage"),
        # The values of the proxy may be older than the last signal: use the larger one.
        progress=max(progress, _property(proxy, "Progress")),
        message=_property(proxy, "Message"),
    )


def _property(proxy: Gio.DBusProxy, name: str) -> Any:
    return proxy.get_cached_property(name).unpack()
