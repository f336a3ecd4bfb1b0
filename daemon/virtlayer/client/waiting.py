# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starting a job and waiting for its end; Ctrl-C ends the job too, and waits until it is clean."""

import asyncio
import contextlib
from collections.abc import Coroutine

from virtlayer.client.bus.answers import Outcome, StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.progress import ShowProgress, shown_progress
from virtlayer.errors import Cancelled, NoSuchJob

CANCEL_SECONDS = 10
"""How long Ctrl-C waits for the daemon to have cleaned up, before it gives up."""


async def started(client: Client, start: Coroutine[object, object, StartedJob]) -> StartedJob:
    """Start a job. Ctrl-C in the middle of the call must not leave a job that nobody knows."""
    starting = asyncio.ensure_future(start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await client.cancel((await starting).id)
        raise


async def finished(client: Client, job: StartedJob, *, as_json: bool) -> dict[str, object]:
    """Wait for the job, and show how far it is; return its result.

    Raises:
        VirtlayerError: What the job ended with.
    """
    with shown_progress(as_json=as_json) as show:
        try:
            outcome = await client.wait(job, show)
        except asyncio.CancelledError:
            outcome = await _cancelled(client, job, show)
    outcome.raise_for_failure()
    return outcome.result


async def _cancelled(client: Client, job: StartedJob, show: ShowProgress) -> Outcome:
    """Cancel a job and wait for its end, which may have come before."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            with contextlib.suppress(NoSuchJob):
                await client.cancel(job.id)
            return await client.wait(job, show)
    except TimeoutError:
        raise Cancelled(
            f'Job {job.id} was told to end and has not yet; "virtlayer jobs" shows when.'
        ) from None
