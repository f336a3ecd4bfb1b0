# SPDX-License-Identifier: LGPL-2.1-or-later
"""One file of 4 GiB that cannot be compressed."""

from bench.cases.case import OURS, Outcome, Setting
from bench.contestants import Cold
from bench.peers.transfer import TransferAndWrite
from bench.rows import Figures, Row, memory, times


def measured(setting: Setting) -> Outcome:
    """Let the contestants compete."""
    inputs = setting.arena.inputs
    image, small = inputs.image("fat"), inputs.image("fat-512m")
    eighth = f"{OURS}, 512 MiB"
    series = setting.arena.compete(
        {
            OURS: (Cold(setting.machine), image),
            TransferAndWrite.title: (TransferAndWrite(inputs), image),
            eighth: (Cold(setting.machine), small),
        }
    )
    ours, least = series[OURS], series[TransferAndWrite.title]
    per_byte = [
        Figures(tuple(seconds / one.unpacked * 1e9 for seconds in series[name].seconds), "s")
        for name, one in ((OURS, image), (eighth, small))
    ]
    return Outcome(
        (
            Row("cold", TransferAndWrite.title, 1.2, times(ours), times(least)),
            Row("time per GB of 4 GiB", "of 512 MiB", 1.1, *per_byte),
            Row("worker, peak RSS", "", 100e6, memory(ours, "workers")),
        ),
        series,
    )
