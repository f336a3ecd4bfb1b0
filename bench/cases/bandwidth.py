# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bytes downloaded for the next version of an image; counts are the same in every run."""

from bench.bandwidth import (
    CountingRegistry,
    IntoAnotherPool,
    Least,
    PodmanUpdate,
    Update,
    counting_registry,
)
from bench.cases.case import OURS, Outcome, Setting
from bench.inputs import RELEASES, Image
from bench.measure import Arena, Series
from bench.result import Contestant
from bench.rows import Figures, Row

_PODMAN = "podman pull"
_CHUNKED = ", zstd:chunked"
_ANOTHER_POOL = f"{OURS}, into another pool"
_AS_MUCH = 1.01
"""Each further skopeo that virtlayer starts for a download opens the image, so it asks for the
manifest again."""


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete, once."""
    inputs = setting.arena.inputs
    former, changed, rebuilt = (inputs.image(name) for name in RELEASES)
    updates = {"last layer changed": changed, "base rebuilt": rebuilt}
    with counting_registry() as registry:
        registry.compress_chunked(former, changed, rebuilt)
        contestants = _contestants(setting, registry, former)
        series = Arena(inputs, runs=1).compete(
            {
                f"{name}: {what}": (contestant, image)
                for what, image in updates.items()
                for name, contestant in contestants.items()
            }
            | {_ANOTHER_POOL: (IntoAnotherPool(setting.machine, registry), former)}
        )
        smallest = registry.without_layers(former)
    rows = [row for what in updates for row in _rows(what, series)]
    again, needed = _bytes(series[_ANOTHER_POOL]), Figures((smallest,), "KB")
    rows.append(Row("into another pool", "manifest and config", 1, again, needed))
    return Outcome(tuple(rows), series)


def _contestants(
    setting: Setting, registry: CountingRegistry, former: Image
) -> dict[str, Contestant]:
    return {
        OURS: Update(setting.machine, registry, former, chunked=False),
        _PODMAN: PodmanUpdate(registry, former, chunked=False),
        f"{OURS}{_CHUNKED}": Update(setting.machine, registry, former, chunked=True),
        f"{_PODMAN}{_CHUNKED}": PodmanUpdate(registry, former, chunked=True),
        Least.title: Least(registry, former),
    }


def _rows(what: str, series: dict[str, Series]) -> list[Row]:
    ours, podman, ours_chunked, podman_chunked, least = (
        _bytes(series[f"{name}: {what}"])
        for name in (OURS, _PODMAN, f"{OURS}{_CHUNKED}", f"{_PODMAN}{_CHUNKED}", Least.title)
    )
    return [
        Row(what, _PODMAN, _AS_MUCH, ours, podman),
        Row(f"{what}{_CHUNKED}", _PODMAN, None, ours_chunked, podman_chunked),
        Row(what, Least.title, None, ours, least),
    ]


def _bytes(series: Series) -> Figures:
    return Figures(series.parts["bytes"], "KB")
