# SPDX-License-Identifier: LGPL-2.1-or-later
"""A writable volume on an image that is there."""

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import NewVolume
from bench.inputs import STEPS
from bench.peers.overlay import Overlay
from bench.rows import Row, memory, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    image = inputs.image(f"steps-{STEPS[0]}")
    series = setting.arena.compete(
        {OURS: (NewVolume(setting.machine), image), Overlay.title: (Overlay(), image)}
    )
    ours, overlay = series[OURS], series[Overlay.title]
    return Outcome(
        (
            Row("CreateVolume", Overlay.title, 3, times(ours, "ms"), times(overlay, "ms")),
            Row("service, idle RSS", "", 45e6, memory(ours, "idle")),
        ),
        series,
    )
