# SPDX-License-Identifier: LGPL-2.1-or-later
"""The worker that customizes the volume of a job, on demand."""

from virtlayer.config import LayerSettings
from virtlayer.layer.customize.session import CustomizationRequest, CustomizationWorker
from virtlayer.operations.on_demand import OnDemand


class CustomizerOnDemand(OnDemand[CustomizationWorker]):
    """Customizes volumes.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__(CustomizationWorker.started(settings))

    async def customize(self, request: CustomizationRequest) -> None:
        """Customize a volume (``CustomizationWorker.customize``)."""
        worker = await self.worker()
        await worker.customize(request)
