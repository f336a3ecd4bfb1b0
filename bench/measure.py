# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs contestants in turns, so that a slow minute of the machine hits them all.

There are no figures without a look at the outputs: a run whose tree is not the oracle's ends its
case.
"""

import dataclasses
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.commands import sync, warm
from bench.inputs import Image, Inputs
from bench.places import scratch
from bench.result import Contestant, Finished
from bench.trees import Oracle


@dataclass(frozen=True, slots=True)
class Series:
    """The runs of one contestant on one image, all with the right output.

    Attributes:
        seconds: Of each run.
        size: Bytes of the result on disk, of the last run.
        parts: Further figures of each run by name.
    """

    seconds: tuple[float, ...] = ()
    size: int = 0
    parts: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    def and_then(self, finished: Finished) -> "Series":
        """With one more run."""
        names = self.parts.keys() | finished.parts.keys()
        return dataclasses.replace(
            self,
            seconds=(*self.seconds, finished.seconds),
            size=finished.size,
            parts={
                name: (*self.parts.get(name, ()), finished.parts.get(name, 0)) for name in names
            },
        )


class Arena:
    """Where contestants meet.

    Args:
        inputs: The images.
        runs: How often each contestant does each work.
    """

    def __init__(self, inputs: Inputs, runs: int) -> None:
        self.inputs = inputs
        self.runs = runs
        self._oracle = Oracle()

    def compete(
        self, entrants: Mapping[str, tuple[Contestant, Image]], *, warmed: bool = True
    ) -> dict[str, Series]:
        """Let everybody do their work, A B C A B C …, and look at every output.

        Args:
            entrants: By their names.
            warmed: Whether the blobs of the images are read before, for those who read them.

        Raises:
            WrongTree: An output is not what the oracle says.
        """
        series = dict.fromkeys(entrants, Series())
        for turn in range(self.runs):
            for name, (contestant, image) in entrants.items():
                with scratch("run") as directory:
                    # What others have left to be written is not this one's to wait for.
                    sync(directory)
                    if warmed:
                        warm(*self.inputs.blobs(image))
                    with contestant(image, directory) as finished:
                        self._verify(name, image, finished)
                        series[name] = series[name].and_then(finished)
                print(f"  {turn + 1}/{self.runs} {name}: {finished.seconds:.3f} s", flush=True)
        return series

    def _verify(self, name: str, image: Image, finished: Finished) -> None:
        if finished.tree is not None:
            with finished.tree() as root:
                reference = self.inputs.reference(image)
                self._oracle.check(name, image, reference, root, ignoring=finished.ignoring)
        for other, result in finished.further:
            self._verify(name, other, result)
