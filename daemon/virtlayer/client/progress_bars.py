# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bars on a terminal: one for the job, and one for each layer that is downloaded or built."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from virtlayer.client.bus.answers import LayerProgress, Progress
from virtlayer.client.pace import Pace
from virtlayer.printable import printable
from virtlayer.sizes import human_size

_DIGEST_SHOWN = 12
_LAYERS_SHOWN = 8
_COLOR = "cyan"
"""The color of all bars: red is for errors, and green would mean that the job is finished."""


class _Row:
    """One bar, and its rate."""

    def __init__(self, task: TaskID) -> None:
        self.task = task
        self.pace = Pace()


class ProgressBars:
    """The bars of a job, which disappear when it has ended."""

    with_layers = True

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description}", markup=False, table_column=Column(width=25)),
            BarColumn(
                bar_width=None,
                complete_style=_COLOR,
                finished_style=_COLOR,
                pulse_style=_COLOR,
                table_column=Column(ratio=1),
            ),
            *(
                TextColumn(
                    f"{{task.fields[{name}]}}",
                    style="none",
                    justify="right",
                    markup=False,
                    table_column=Column(width=width, no_wrap=True),
                )
                for name, width in (("part", 4), ("size", 21), ("rate", 11), ("left", 5))
            ),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._rows: dict[tuple[str, str], _Row] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show the newest values."""
        self._show_job(progress)
        shown: set[tuple[str, str]] = set()
        for layer in progress.layers:
            work = _work_on(layer)
            if work is not None and len(shown) < _LAYERS_SHOWN:
                shown.add((layer.digest, work[0]))
                self._show_layer(layer, *work)
        for key in self._rows.keys() - shown - {("", "")}:
            self._bars.remove_task(self._rows.pop(key).task)

    def _show_job(self, progress: Progress) -> None:
        row = self._row(("", ""))
        row.pace.note(progress.fraction)
        self._update(
            row,
            description=printable(progress.stage or "waiting"),
            part=progress.fraction,
            size=_of(progress.done, progress.total) if progress.total else "",
            rate="",
            left=row.pace.seconds_left(1.0),
        )

    def _show_layer(self, layer: LayerProgress, work: str, done: int) -> None:
        row = self._row((layer.digest, work))
        row.pace.note(done)
        digest = printable(layer.digest.rpartition(":")[2][:_DIGEST_SHOWN])
        self._update(
            row,
            description=f"{work} {digest}",
            part=done / layer.size,
            size=_of(done, layer.size),
            rate=f"{human_size(int(row.pace.rate))}/s" if row.pace.rate else "",
            left=row.pace.seconds_left(layer.size),
        )

    def _row(self, key: tuple[str, str]) -> _Row:
        if key not in self._rows:
            task = self._bars.add_task("", total=1.0, part="", size="", rate="", left="")
            self._rows[key] = _Row(task)
        return self._rows[key]

    def _update(
        self,
        row: _Row,
        *,
        description: str,
        part: float,
        size: str,
        rate: str,
        left: float | None,
    ) -> None:
        self._bars.update(
            row.task,
            description=description,
            completed=part,
            part=f"{part:.0%}",
            size=size,
            rate=rate,
            left="" if left is None else _clock(left),
        )


def _work_on(layer: LayerProgress) -> tuple[str, int] | None:
    """Return the present step for a layer, and its progress in bytes."""
    if 0 < layer.downloaded < layer.size:
        return "downloading", layer.downloaded
    if 0 < layer.applied < layer.size:
        return "building", layer.applied
    return None


def _of(done: int, total: int) -> str:
    return f"{human_size(done)}/{human_size(total)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 100 else "long"
