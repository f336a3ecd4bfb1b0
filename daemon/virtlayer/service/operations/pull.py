# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls an image into a pool, in the requested format."""

from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.pull_chain import PullRequest, PullResult, pull
from virtlayer.service.operations.pull_directory import pull_directory
from virtlayer.service.operations.pull_disk import pull_disk
from virtlayer.service.operations.services import Services
from virtlayer.service.operations.whole_image import Format, WholeImageRequest, WholeImageResult


async def pull_image(
    services: Services, request: PullRequest | WholeImageRequest, job: Job
) -> PullResult | WholeImageResult:
    """Pull an image into a pool.

    Raises:
        VirtlayerError: It failed; the class says why.
    """
    match request:
        case PullRequest():
            return await pull(services, request, job)
        case WholeImageRequest(format=Format.DIRECTORY):
            return await pull_directory(services, request, job)
        case WholeImageRequest():
            return await pull_disk(services, request, job)
