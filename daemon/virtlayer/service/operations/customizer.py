# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts the worker that customizes the volume of a job on demand."""

from virtlayer.service.keeper.programs import Programs
from virtlayer.service.operations.on_demand import OnDemand
from virtlayer.service.workers.customization import CustomizationRequest, CustomizationWorker
from virtlayer.settings import LayerSettings


class CustomizerOnDemand(OnDemand[CustomizationWorker]):
    """Customizes volumes.

    Args:
        programs: Runs the worker.
        settings: The limits.
        fresh_identity: Whether the worker can replace the identity of an image.
    """

    def __init__(
        self, programs: Programs, settings: LayerSettings, *, fresh_identity: bool
    ) -> None:
        super().__init__(
            CustomizationWorker.started(programs, settings, fresh_identity=fresh_identity)
        )
        self.replaced_identity = False
        """Whether it has replaced the identity of an image."""

    async def customize(self, request: CustomizationRequest) -> None:
        """Customize a volume (``CustomizationWorker.customize``)."""
        worker = await self.worker()
        self.replaced_identity |= await worker.customize(request)
