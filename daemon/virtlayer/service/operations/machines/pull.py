# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pulls the image of a machine first, by the rules of podman's option --pull."""

from enum import StrEnum

from virtlayer.errors import ImageNotFound
from virtlayer.protocol.pools import Pool
from virtlayer.service.jobs.job import Job
from virtlayer.service.operations.pull_chain import PullRequest, PullResult, pull
from virtlayer.service.operations.services import Services


class PullPolicy(StrEnum):
    """When an image is pulled."""

    ALWAYS = "always"
    MISSING = "missing"  # if the pool does not have it; a file of this host always
    NEVER = "never"


async def pull_by_policy(
    services: Services, pool: Pool, request: PullRequest, policy: PullPolicy, job: Job
) -> PullResult | None:
    """Pull an image, unless the pool may be used as it is; then return None.

    Raises:
        ImageNotFound: The pool does not have the image, and it may not be pulled.
        VirtlayerError: The pull failed.
    """
    if policy is not PullPolicy.ALWAYS:
        await services.records.synchronize(pool)
        image = await services.catalog.get(pool.name, request.image_name)
        has_image = image is not None and image.source == str(request.source)
        if has_image and (policy is PullPolicy.NEVER or request.source.local_path is None):
            return None
        if policy is PullPolicy.NEVER:
            raise ImageNotFound(
                f'The pool "{pool.name}" does not have the image of {request.source}, and the '
                'option "pull=never" forbids to pull it.'
            )
    return await pull(services, request, job)
