# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts the layer worker of a job on demand."""

from collections.abc import Callable

from virtlayer.service.keeper.programs import Programs
from virtlayer.service.operations.on_demand import OnDemand
from virtlayer.service.workers.layer import AppliedLayer, LayerRequest, LayerWorker
from virtlayer.settings import LayerSettings


class WorkerOnDemand(OnDemand[LayerWorker]):
    """Applies layers.

    Args:
        programs: Runs the worker.
        settings: The limits.
    """

    def __init__(self, programs: Programs, settings: LayerSettings) -> None:
        super().__init__(LayerWorker.started(programs, settings))
        self.found_disk = False
        """Whether a layer had a machine's disk in /disk."""

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> AppliedLayer:
        """Apply a layer (``LayerWorker.apply``)."""
        worker = await self.worker()
        applied = await worker.apply(request, on_bytes)
        self.found_disk |= applied.disks > 0
        return applied
