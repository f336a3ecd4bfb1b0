# SPDX-License-Identifier: LGPL-2.1-or-later
"""A contestant for whom the network is far away."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.slow_link import SlowLink

from bench.inputs import Image
from bench.result import Contestant, Finished

ROUND_TRIPS = {"0 ms": 0.0, "1 ms": 0.001, "10 ms": 0.01}
"""Seconds, by what they are called; 0 ms is through the same link, without delay."""


class Delayed:
    """A contestant on a link with a round-trip time, which ends when its time has ended.

    Args:
        contestant: The contestant, which uses the link.
        link: The link.
        round_trip: Seconds.
    """

    def __init__(self, contestant: Contestant, link: SlowLink, round_trip: float) -> None:
        self._contestant = contestant
        self._link = link
        self._round_trip = round_trip

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Do what the contestant does."""
        self._link.round_trip = self._round_trip
        try:
            with self._contestant(image, directory) as finished:
                self._link.round_trip = 0.0
                yield finished
        finally:
            self._link.round_trip = 0.0
