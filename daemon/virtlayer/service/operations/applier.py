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
        self.identities: dict[str, bool] = {}
        """Whether machines made from a finished volume would share an identity, by its name."""

    async def apply(self, request: LayerRequest, on_bytes: Callable[[int], None]) -> AppliedLayer:
        """Apply a layer (``LayerWorker.apply``)."""
        worker = await self.worker()
        applied = await worker.apply(request, on_bytes)
        self.found_disk |= applied.disks > 0
        if request.result is not None and applied.has_identity is not None:
            self.identities[request.result] = applied.has_identity
        return applied
