# SPDX-License-Identifier: LGPL-2.1-or-later
"""The clock of the host is set years forth or back while the daemon works: it decides nothing."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from virtlayer.protocol.names import parse_pool_name
from virtlayer.service.catalog.catalog import Catalog, Visit
from virtlayer.service.jobs.engine import Jobs
from virtlayer.service.jobs.job import Job, JobState
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.operations.configured import ConfiguredImage
from virtlayer.service.operations.populate import _is_due
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.service.operations.services import Services
from virtlayer.service.source.reference import parse_reference
from virtlayer.settings import JobSettings

YEARS = 3 * 365 * 24 * 60 * 60
_real_time = time.time_ns


@pytest.mark.parametrize("years", [-YEARS, YEARS])
async def test_finished_jobs_stay_as_long_as_they_should(
    monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    jobs = Jobs(JobSettings(keep_seconds=60), queue_limit=64)

    async def work(job: Job) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: _real_time() + years * 10**9)
        for _ in range(20):
            job.report.add_downloaded(1)
            await asyncio.sleep(0.01)

    job = jobs.start(Kind.PULL, source="docker://x/y", pool="p", started_by=0, operation=work)
    await job.wait()
    assert job.state is JobState.DONE
    await asyncio.sleep(0.05)
    assert jobs.get(job.id) is job
    await jobs.close(1)


@pytest.mark.parametrize(
    ("visited", "error", "due"),
    [
        (-30, "", False),
        (-3600, "", True),
        (-30, "RegistryUnavailable", True),
        # Visited before the clock was set back: else it would be up to date for three years.
        (YEARS, "", True),
    ],
)
async def test_an_image_is_due_again_after_the_clock_was_set_back(
    tmp_path: Path, visited: int, error: str, due: bool
) -> None:
    image = ConfiguredImage(
        file=tmp_path / "x.toml",
        pool="p",
        name="n",
        interval=3600,
        request=PullRequest(source=parse_reference("docker://x/y"), pool=parse_pool_name("p")),
    )
    async with Catalog(tmp_path / "catalog.sqlite") as catalog:
        at = time.time_ns() // 1000 + visited * 1_000_000
        await catalog.visited(Visit(pool="p", name="n", at=at, error=error))
        services = cast("Services", SimpleNamespace(catalog=catalog))
        assert await _is_due(services, image) is due
