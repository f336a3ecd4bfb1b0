# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a running job is shown, on standard error: a bar, plain lines, or JSON lines."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator

from virtlayer.client.bus.answers import Progress
from virtlayer.printable import printable
from virtlayer.sizes import human_size

type ShowProgress = Callable[[Progress], None]


@contextlib.contextmanager
def shown_progress(*, as_json: bool) -> Iterator[ShowProgress]:
    """The way of showing progress that suits whoever reads standard error.

    Args:
        as_json: One JSON object a line, for every step.
    """
    if as_json:
        yield _show_json
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _Lines().show


def _show_json(progress: Progress) -> None:
    document = {
        "progress": progress.fraction,
        "stage": progress.stage,
        "bytes_done": progress.done,
        "bytes_total": progress.total,
    }
    print(json.dumps(document), file=sys.stderr, flush=True)


class _Lines:
    """A line for every new stage and every tenth: enough for a log, and not too much."""

    def __init__(self) -> None:
        self._last = ("", -1)

    def show(self, progress: Progress) -> None:
        step = (progress.stage, int(progress.fraction * 10))
        if step == self._last or not progress.stage:
            return
        self._last = step
        print(
            f"{printable(progress.stage)} {progress.fraction:.0%}{_bytes(progress)}",
            file=sys.stderr,
            flush=True,
        )


def _bytes(progress: Progress) -> str:
    if not progress.total:
        return ""
    return f", {human_size(progress.done)} of {human_size(progress.total)}"


@contextlib.contextmanager
def _bar() -> Iterator[ShowProgress]:
    # rich takes a tenth of a second to import, which only a bar on a terminal is worth.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[bytes]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("waiting", total=1.0, bytes="")

        def show(progress: Progress) -> None:
            bars.update(
                task,
                description=escape(printable(progress.stage or "waiting")),
                completed=progress.fraction,
                bytes=_bytes(progress).removeprefix(", "),
            )

        yield show
