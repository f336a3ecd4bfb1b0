# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starting a job and waiting for its end; Ctrl-C cancels the job and waits until it has ended."""

import asyncio
import contextlib
from collections.abc import Coroutine

from virtlayer.client.bus.answers import Outcome, StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.progress import ProgressDisplay, shown_progress
from virtlayer.errors import Cancelled, NoSuchJob

CANCEL_SECONDS = 10
"""Seconds that Ctrl-C waits for virtlayerd to clean up."""


async def started(client: Client, start: Coroutine[object, object, StartedJob]) -> StartedJob:
    """Start a job; Ctrl-C during the call cancels the job too."""
    starting = asyncio.ensure_future(start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await client.cancel((await starting).id)
        raise


async def finished(
    client: Client, job: StartedJob, *, as_json: bool, only_on_terminal: bool = False
) -> dict[str, object]:
    """Wait for the job and show its progress; return its result.

    Args:
        client: The connection that started the job.
        job: The job.
        as_json: Show the progress as JSON, a line for every step.
        only_on_terminal: Show it only if standard error is a terminal.

    Raises:
        VirtlayerError: What the job ended with.
    """
    with shown_progress(as_json=as_json, only_on_terminal=only_on_terminal) as show:
        try:
            outcome = await client.wait(job, show, with_layers=show.with_layers)
        except asyncio.CancelledError:
            outcome = await _cancelled(client, job, show)
    outcome.raise_for_failure()
    return outcome.result


async def _cancelled(client: Client, job: StartedJob, show: ProgressDisplay) -> Outcome:
    """Cancel a job and wait for its end; it may have ended before."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            with contextlib.suppress(NoSuchJob):
                await client.cancel(job.id)
            return await client.wait(job, show)
    except TimeoutError:
        raise Cancelled(
            f'Job {job.id} is still being cancelled. "virtlayer jobs" shows its state.'
        ) from None
