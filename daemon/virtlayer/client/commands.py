# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of virtlayer: what each asks of virtlayerd, and what it prints."""

import asyncio
import contextlib
import dataclasses
from argparse import Namespace
from collections.abc import Awaitable, Callable

from virtlayer.bus.client.answers import Outcome, StartedJob
from virtlayer.bus.client.caller import Client
from virtlayer.bus.client.values import Options, OptionValue
from virtlayer.client.access import absolute_source, access_options
from virtlayer.client.inspection import print_inspection
from virtlayer.client.output import print_json, print_line, print_table
from virtlayer.client.progress import ShowProgress, shown_progress
from virtlayer.errors import Cancelled, NoSuchJob

CANCEL_SECONDS = 10
"""How long Ctrl-C waits for the daemon to have cleaned up, before it gives up."""


async def pull(client: Client, arguments: Namespace) -> None:
    """``virtlayer pull``."""
    source = absolute_source(arguments.source)
    with access_options(arguments) as access:
        options = access | _pull_options(arguments)
        job = await _started(client, source, arguments.pool, options)
    if not arguments.wait:
        _print_started(job, as_json=arguments.json)
        return
    with shown_progress(as_json=arguments.json) as show:
        outcome = await _finished(client, job, show)
    outcome.raise_for_failure()
    if arguments.json:
        print_json(outcome.result)
    else:
        print_line(_pulled(outcome.result))


async def inspect(client: Client, arguments: Namespace) -> None:
    """``virtlayer inspect``."""
    with access_options(arguments) as options:
        inspection = await client.inspect(absolute_source(arguments.source), options)
    print_inspection(inspection, as_json=arguments.json)


async def images(client: Client, arguments: Namespace) -> None:
    """``virtlayer images``."""
    listed = await client.list_images(arguments.pool)
    if arguments.json:
        print_json([dataclasses.asdict(image) for image in listed])
    else:
        print_table(
            ("POOL", "NAME", "DIGEST", "SOURCE"),
            [(image.pool, image.name, image.digest[:19], image.source) for image in listed],
        )


async def jobs(client: Client, arguments: Namespace) -> None:
    """``virtlayer jobs``."""
    listed = await client.list_jobs()
    if arguments.json:
        print_json([dataclasses.asdict(job) for job in listed])
    else:
        print_table(
            ("ID", "KIND", "STATE", "PROGRESS", "SUBJECT"),
            [
                (str(job.id), job.kind, job.state, f"{job.progress:.0%}", job.subject)
                for job in listed
            ],
        )


async def cancel(client: Client, arguments: Namespace) -> None:
    """``virtlayer cancel``."""
    await client.cancel(arguments.id)
    if arguments.json:
        print_json({"id": arguments.id})


COMMANDS: dict[str, Callable[[Client, Namespace], Awaitable[None]]] = {
    "pull": pull,
    "inspect": inspect,
    "images": images,
    "jobs": jobs,
    "cancel": cancel,
}


def _pull_options(arguments: Namespace) -> dict[str, OptionValue]:
    options: dict[str, OptionValue] = {}
    if arguments.name:
        options["name"] = arguments.name
    if arguments.size:
        options["size"] = arguments.size
    if not arguments.cache:
        options["cache"] = False
    return options


async def _started(client: Client, source: str, pool: str, options: Options) -> StartedJob:
    """Start a pull. Ctrl-C in the middle of the call must not leave a job that nobody knows."""
    starting = asyncio.ensure_future(client.pull(source, pool, options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await client.cancel((await starting).id)
        raise


async def _finished(client: Client, job: StartedJob, show: ShowProgress) -> Outcome:
    """Wait for the job; Ctrl-C cancels it and waits until it has cleaned up."""
    try:
        return await client.wait(job, show)
    except asyncio.CancelledError:
        return await _cancelled(client, job, show)


async def _cancelled(client: Client, job: StartedJob, show: ShowProgress) -> Outcome:
    """Cancel a job and wait for its end, which may have come before."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            with contextlib.suppress(NoSuchJob):
                await client.cancel(job.id)
            return await client.wait(job, show)
    except TimeoutError:
        raise Cancelled(
            f"Job {job.id} was told to end and has not yet; “virtlayer jobs” shows when."
        ) from None


def _print_started(job: StartedJob, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": job.id, "path": job.path})
    else:
        print_line(f"{job.id}")


def _pulled(result: dict[str, object]) -> str:
    built, reused = result["layers-built"], result["layers-reused"]
    what = f"{built} layers built, {reused} reused" if built else "up to date, nothing was built"
    return f"{result['name']}: {result['path']} ({what})"
