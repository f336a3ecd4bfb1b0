# SPDX-License-Identifier: LGPL-2.1-or-later
"""The progress of a job, by bytes, and the rate of its notices."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

NOTICE_INTERVAL = 0.125
"""Seconds between two notices: eight a second, so that the last one, which does not wait, stays
within the limit of ten."""

_ALMOST = 0.999
"""With every byte applied, the volume is still unregistered: only a job that is done is at 1."""


class Stage(StrEnum):
    """The stage of a job."""

    RESOLVING = "resolving"
    DOWNLOADING = "downloading"
    APPLYING = "applying"
    REGISTERING = "registering"
    CUSTOMIZING = "customizing"
    PREPARING_BOOT = "preparing-boot"
    DEFINING = "defining"
    STARTING = "starting"
    STOPPING = "stopping"


class Throttle:
    """Calls a function immediately, then at most once an interval; the last call is never lost.

    Args:
        function: The function to call.
        interval: Seconds between two calls.
    """

    def __init__(self, function: Callable[[], None], interval: float = NOTICE_INTERVAL) -> None:
        self._function = function
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = False

    def request(self) -> None:
        """Call the function now, or as soon as the interval allows."""
        if self._timer is None:
            self._call()
        else:
            self._wanted = True

    def flush(self) -> None:
        """Make the pending call, if there is one, and end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wanted:
            self._wanted = False
            self._function()

    def _call(self) -> None:
        self._wanted = False
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._elapsed)
        self._function()

    def _elapsed(self) -> None:
        self._timer = None
        if self._wanted:
            self._call()


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of a part at one moment."""

    fraction: float = 0.0
    bytes_done: int = 0
    bytes_total: int = 0
    layers_done: int = 0
    layers_total: int = 0


class LayerProgress:
    """The figures of one layer of a job, which count in the job's as well.

    Args:
        digest: Of its blob.
        size: Compressed bytes.
        whole: The job's.
    """

    def __init__(self, digest: str, size: int, whole: "Progress") -> None:
        self.digest = digest
        self.size = size
        self.downloaded = 0
        """Compressed bytes that have arrived."""
        self.applied = 0
        """Compressed bytes that are in their volume."""
        self._whole = whole

    def add_downloaded(self, size: int) -> None:
        """Count compressed bytes that have arrived; a cached blob arrives at once."""
        self.downloaded = min(self.downloaded + size, self.size)
        self._whole.add_downloaded(size)

    def add_applied(self, size: int) -> None:
        """Count compressed bytes that are in their volume."""
        self.applied = min(self.applied + size, self.size)
        self._whole.add_applied(size)


class Progress:
    """The figures of one job; they never fall.

    ``bytes_total`` are the compressed bytes of the layers that the job must download or build.
    Each counts twice in ``fraction``: when it has been downloaded, and when it has been applied.

    Args:
        changed: Called with the names of figures that change seldom, each time.
        progressed: Called, throttled, when ``fraction``, ``bytes_done`` or the stage changes.
    """

    def __init__(
        self, changed: Callable[[frozenset[str]], None], progressed: Callable[[], None]
    ) -> None:
        self.stage = Stage.RESOLVING
        self.fraction = 0.0
        self.bytes_done = 0
        self.bytes_total = 0
        self.layers_done = 0
        self.layers_total = 0
        self._layers: dict[str, LayerProgress] = {}
        self._bytes_applied = 0
        self._changed = changed
        self._throttle = Throttle(progressed)

    def set_stage(self, stage: Stage) -> None:
        """Set the stage of the job."""
        if stage is not self.stage:
            self.stage = stage
            self._changed(frozenset({"stage"}))
            self._throttle.request()

    def part(self, number: int) -> "Progress":
        """Begin one of several pieces of work; its figures count in these.

        Args:
            number: How many there are; each counts the same in ``fraction``.
        """
        part: Progress
        counted = _Figures()

        def count(names: frozenset[str]) -> None:
            nonlocal counted
            present = part._figures()
            self._add(counted, present, number)
            counted = present
            if "stage" in names:
                self.set_stage(part.stage)
            if names - {"stage"}:
                self._changed(names - {"stage"})
            self._throttle.request()

        part = Progress(count, lambda: count(frozenset()))
        part._layers = self._layers
        return part

    def _figures(self) -> "_Figures":
        return _Figures(
            self.fraction, self.bytes_done, self.bytes_total, self.layers_done, self.layers_total
        )

    def _add(self, before: "_Figures", after: "_Figures", number: int) -> None:
        """Count what a part has done since it was counted last."""
        fraction = self.fraction + (after.fraction - before.fraction) / number
        self.fraction = max(self.fraction, min(fraction, _ALMOST))
        self.bytes_done += after.bytes_done - before.bytes_done
        self.bytes_total += after.bytes_total - before.bytes_total
        self.layers_done += after.layers_done - before.layers_done
        self.layers_total += after.layers_total - before.layers_total

    def set_total(self, size: int, layers: int) -> None:
        """Set the total amount of work.

        Args:
            size: Compressed bytes of all layers that must be downloaded or built.
            layers: How many layers that are.
        """
        self.bytes_total = size
        self.layers_total = layers
        self._changed(frozenset({"bytes_total", "layers_total"}))
        self._throttle.request()

    def layer(self, digest: str, size: int) -> LayerProgress:
        """The figures of a layer, from the first call for it on.

        Args:
            digest: Of its blob.
            size: Compressed bytes.
        """
        return self._layers.setdefault(digest, LayerProgress(digest, size, self))

    @property
    def layers(self) -> tuple[LayerProgress, ...]:
        """The layers whose download or use has begun, in the order in which it began."""
        return tuple(self._layers.values())

    def add_downloaded(self, size: int) -> None:
        """Count compressed bytes that have arrived; a cached blob arrives at once."""
        # The bytes of a repeated download are counted twice, so the total is the limit.
        self.bytes_done = min(self.bytes_done + size, self.bytes_total)
        self._moved()

    def add_applied(self, size: int) -> None:
        """Count compressed bytes that are in their volume."""
        self._bytes_applied = min(self._bytes_applied + size, self.bytes_total)
        self._moved()

    def layer_done(self) -> None:
        """Count a layer that is finished."""
        self.layers_done += 1
        self._changed(frozenset({"layers_done"}))

    def finish(self, *, success: bool) -> None:
        """Send the pending notices; no further ones follow."""
        if success:
            self.fraction = 1.0
            self._throttle.request()
        self._throttle.flush()

    def _moved(self) -> None:
        if self.bytes_total:
            moved = self.bytes_done + self._bytes_applied
            self.fraction = max(self.fraction, min(moved / (2 * self.bytes_total), _ALMOST))
        self._throttle.request()
