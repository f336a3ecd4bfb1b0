# SPDX-License-Identifier: LGPL-2.1-or-later
"""A writable volume on an image that is there, and what runs when nothing is asked for."""

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import GoneWhenIdle, NewVolume
from bench.inputs import STEPS
from bench.peers.overlay import Overlay
from bench.rows import Figures, Row, memory, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    image = inputs.image(f"steps-{STEPS[0]}")
    idle = f"{OURS}, idle for a second"
    series = setting.arena.compete(
        {
            OURS: (NewVolume(setting.machine), image),
            Overlay.title: (Overlay(), image),
            idle: (GoneWhenIdle(setting.machine), image),
        }
    )
    left = Figures(series[idle].parts["left"], "number")
    ours, overlay = series[OURS], series[Overlay.title]
    return Outcome(
        (
            Row("CreateVolume", Overlay.title, 3, times(ours, "ms"), times(overlay, "ms")),
            Row("service, idle RSS", "", 45e6, memory(ours, "idle")),
            Row("processes of service and keeper left when idle", "", 0, left),
        ),
        series,
    )
