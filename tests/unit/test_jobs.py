# SPDX-License-Identifier: LGPL-2.1-or-later
"""The job engine: order and number of jobs, and correct notifications."""

import asyncio
import contextlib
import logging
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.waiting import PATIENCE, until
from virtlayer.errors import Busy, Cancelled, ImageNotFound, NoSuchJob
from virtlayer.service.jobs.engine import Jobs, Operation
from virtlayer.service.jobs.job import Job, JobState
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.jobs.progress import Progress, Stage
from virtlayer.settings import JobSettings

CATALOG = Path(__file__).parents[2] / "systemd" / "virtlayer.catalog"


class Witness:
    """Writes down what the engine tells, with the state at that moment."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, str]] = []
        self.progress: list[tuple[float, float]] = []
        self.gone = asyncio.Event()

    def added(self, job: Job) -> None:
        self._note("added", job)

    def changed(self, job: Job, names: frozenset[str]) -> None:
        if "state" in names:
            self._note("changed", job)

    def progressed(self, job: Job) -> None:
        self.progress.append((time.monotonic(), job.progress))

    def finished(self, job: Job) -> None:
        self._note("finished", job)

    def removed(self, job: Job) -> None:
        self._note("removed", job)
        self.gone.set()

    def of(self, number: int) -> list[tuple[str, str]]:
        return [(event, state) for event, job, state in self.told if job == number]

    def _note(self, event: str, job: Job) -> None:
        self.told.append((event, job.id, str(job.state)))


def make(**settings: int) -> tuple[Jobs, Witness]:
    jobs, witness = Jobs(JobSettings(**settings), queue_limit=64), Witness()
    jobs.subscribe(witness)
    return jobs, witness


def begin(
    jobs: Jobs,
    operation: Operation,
    belongings: contextlib.ExitStack | None = None,
    *,
    uid: int = 1000,
    kind: Kind = Kind.PULL,
) -> Job:
    return jobs.start(
        kind,
        source="docker://example.org/a:1",
        pool="default",
        started_by=uid,
        operation=operation,
        belongings=belongings,
    )


async def forever(_job: Job) -> object:
    await asyncio.Event().wait()
    raise AssertionError


async def test_successful_job_is_announced_once_and_in_order() -> None:
    jobs, witness = make()

    async def operation(job: Job) -> object:
        assert job.state is JobState.RUNNING
        return "the result"

    job = begin(jobs, operation)
    assert (job.state, job.started_at, job.finished_at) == (JobState.QUEUED, 0, 0)
    await job.wait()
    assert (job.state, job.result, job.progress) == (JobState.DONE, "the result", 1.0)
    assert 0 < job.started_at <= job.finished_at
    assert witness.of(job.id) == [
        ("added", "queued"),
        ("changed", "running"),
        ("changed", "done"),
        ("finished", "done"),
    ]
    assert jobs.get(job.id) is job


async def test_own_error_keeps_its_name_and_text() -> None:
    jobs, witness = make()

    async def operation(_job: Job) -> object:
        raise ImageNotFound("No such image.")

    job = begin(jobs, operation)
    await job.wait()
    assert (job.state, job.error, job.message) == ("failed", "ImageNotFound", "No such image.")
    assert witness.of(job.id)[-1] == ("finished", "failed")


async def test_defect_is_internal_with_a_trace_only_in_the_journal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs, _ = make()

    async def operation(_job: Job) -> object:
        raise ZeroDivisionError("a detail")

    job = begin(jobs, operation)
    await job.wait()
    assert (job.state, job.error) == ("failed", "Internal")
    assert "a detail" not in job.message
    assert "a detail" in caplog.text


@pytest.mark.parametrize("kind", [Kind.START_DOMAIN, Kind.STOP_DOMAIN, Kind.REMOVE_DOMAIN])
async def test_a_machine_is_controlled_while_pulls_have_all_slots(kind: Kind) -> None:
    jobs, _ = make(running_limit=1)
    pulls = [begin(jobs, forever) for _ in range(2)]

    async def operation(_job: Job) -> object:
        return None

    control = begin(jobs, operation, kind=kind)
    await control.wait()
    assert [pull.state for pull in pulls] == [JobState.RUNNING, JobState.QUEUED]
    await jobs.close(PATIENCE)


async def test_a_limited_number_runs_and_the_queue_is_in_order() -> None:
    jobs, _ = make(running_limit=2)
    running: list[int] = []
    most = 0
    order: list[int] = []

    async def operation(job: Job) -> object:
        nonlocal most
        order.append(job.id)
        running.append(job.id)
        most = max(most, len(running))
        await asyncio.sleep(0.001)
        running.remove(job.id)
        return None

    started = [begin(jobs, operation) for _ in range(10)]
    assert jobs.unfinished == 10
    for job in started:
        await job.wait()
    assert most == 2
    assert order == [job.id for job in started]
    assert jobs.unfinished == 0


@pytest.mark.parametrize("steps", [0, 1, 5])
async def test_cancel_ends_a_job_at_any_point(steps: int) -> None:
    jobs, witness = make()
    job = begin(jobs, forever)
    for _ in range(steps):
        await asyncio.sleep(0)
    await jobs.cancel(job.id)
    assert (job.state, job.error) == ("cancelled", "Cancelled")
    assert witness.of(job.id)[-1] == ("finished", "cancelled")
    assert [event for event, _ in witness.of(job.id)].count("finished") == 1


async def test_cancel_in_the_queue_frees_nothing_that_runs() -> None:
    jobs, _ = make(running_limit=1)
    first, second, third = (begin(jobs, forever) for _ in range(3))
    await asyncio.sleep(0)
    await jobs.cancel(second.id)
    assert (first.state, second.state, third.state) == ("running", "cancelled", "queued")
    await jobs.cancel(first.id)
    await until(lambda: third.state == "running")
    await jobs.cancel(third.id)


async def test_cancel_waits_for_the_clean_up_and_does_not_break_it() -> None:
    jobs, _ = make()
    cleaned = False

    async def operation(_job: Job) -> object:
        nonlocal cleaned
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned = True
        return None

    job = begin(jobs, operation)
    await asyncio.sleep(0)
    await asyncio.gather(jobs.cancel(job.id), jobs.cancel(job.id))
    assert cleaned


async def test_job_that_fails_by_its_cancellation_is_cancelled() -> None:
    jobs, _ = make()

    async def operation(_job: Job) -> object:
        try:
            await asyncio.Event().wait()
        finally:
            raise ImageNotFound("The program was killed.")

    job = begin(jobs, operation)
    await asyncio.sleep(0)
    await jobs.cancel(job.id)
    assert job.state == "cancelled"


async def test_job_that_finishes_despite_cancellation_is_done() -> None:
    jobs, _ = make()

    async def operation(_job: Job) -> object:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "registered already"

    job = begin(jobs, operation)
    await asyncio.sleep(0)
    with pytest.raises(NoSuchJob):
        await jobs.cancel(job.id)
    assert (job.state, job.result) == ("done", "registered already")


async def test_cancelling_an_ended_or_unknown_job_is_an_error() -> None:
    jobs, _ = make()
    job = begin(jobs, forever)
    await jobs.cancel(job.id)
    with pytest.raises(NoSuchJob, match="has already ended"):
        await jobs.cancel(job.id)
    with pytest.raises(NoSuchJob, match="No job 99"):
        await jobs.cancel(99)


async def test_finished_jobs_are_kept_up_to_a_number() -> None:
    jobs, witness = make(keep_number=2)
    for _ in range(4):
        job = begin(jobs, forever)
        await jobs.cancel(job.id)
    assert [job.id for job in jobs.list()] == [3, 4]
    assert [event for event, _ in witness.of(1)].count("removed") == 1
    with pytest.raises(NoSuchJob):
        jobs.get(1)


async def test_finished_jobs_of_one_user_do_not_displace_those_of_another() -> None:
    jobs, _ = make(keep_number=3)
    other = begin(jobs, forever, uid=1001)
    await jobs.cancel(other.id)
    for _ in range(5):
        job = begin(jobs, forever)
        await jobs.cancel(job.id)
    assert [job.id for job in jobs.list()] == [other.id, 5, 6]


async def test_failed_jobs_are_kept_longer_than_others() -> None:
    async def fail(_job: Job) -> object:
        raise ImageNotFound("There is no such image.")

    jobs, _ = make(keep_number=3)
    failed = begin(jobs, fail)
    await failed.wait()
    for _ in range(5):
        job = begin(jobs, forever)
        await jobs.cancel(job.id)
    assert [job.id for job in jobs.list()] == [failed.id, 5, 6]
    assert jobs.get(failed.id).message == "There is no such image."
    for _ in range(3):
        failed = begin(jobs, fail)
        await failed.wait()
    assert [job.id for job in jobs.list()] == [7, 8, 9]


async def test_job_that_ends_when_only_failed_ones_are_kept_is_announced_and_kept() -> None:
    async def fail(_job: Job) -> object:
        raise ImageNotFound("There is no such image.")

    async def succeed(_job: Job) -> object:
        return "its result"

    jobs, witness = make(keep_number=2)
    for _ in range(2):
        await begin(jobs, fail).wait()
    done = begin(jobs, succeed)
    await done.wait()
    assert [event for event, _ in witness.of(done.id)][-1] == "finished"
    assert jobs.get(done.id).result == "its result"
    assert [job.id for job in jobs.list()] == [2, done.id]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("failure", [None, ImageNotFound("There is no such image.")])
async def test_journal_describes_a_job_of_each_kind(
    caplog: pytest.LogCaptureFixture, kind: Kind, failure: Exception | None
) -> None:
    async def end(_job: Job) -> object:
        if failure is not None:
            raise failure
        return None

    caplog.set_level(logging.INFO)
    jobs, _ = make()
    about_images = kind not in {Kind.PRUNE, Kind.RESCAN, Kind.POPULATE}
    about_domains = kind in {Kind.START_DOMAIN, Kind.STOP_DOMAIN, Kind.REMOVE_DOMAIN}
    about_pools = not about_domains and kind is not Kind.POPULATE
    job = jobs.start(
        kind,
        source="docker://example.org/a:1" if about_images else "",
        pool="default" if about_pools else "",
        started_by=1000,
        operation=end,
    )
    await job.wait()
    first, last = (record.getMessage() for record in caplog.records)
    assert first == f"Job 1 was started by UID 1000: {job.description}."
    ending = f"is done: {job.description}."
    if failure is not None:
        ending = f"failed: {job.description}. ImageNotFound: There is no such image."
    assert last == f"Job 1 {ending}"
    for text in (first, last):
        assert ("docker://example.org/a:1" in text) is about_images
        assert ('pool "default"' in text) is about_pools
        assert '""' not in text
        assert "  " not in text
    # Every field that the journal's catalog shows has a value.
    shown = set(re.findall(r"@(VIRTLAYER_\w+)@", CATALOG.read_text()))
    for record in caplog.records:
        assert shown <= record.journal_fields.keys()  # type: ignore[attr-defined]


async def test_full_queue_of_a_user_refuses_and_closes_a_job() -> None:
    jobs = Jobs(JobSettings(running_limit=1), queue_limit=2, unlimited=frozenset({0}))
    started = [begin(jobs, forever)]
    await asyncio.sleep(0)
    started += [begin(jobs, forever) for _ in range(2)]
    belongings = contextlib.ExitStack()
    closed: list[bool] = []
    belongings.callback(closed.append, True)
    with pytest.raises(Busy, match="2 queued jobs"):
        begin(jobs, forever, belongings)
    assert closed == [True]
    started += [begin(jobs, forever, uid=0) for _ in range(3)]
    started += [begin(jobs, forever, uid=1001)]
    for job in reversed(started):
        await jobs.cancel(job.id)


async def test_finished_jobs_are_kept_for_a_time() -> None:
    jobs, witness = make(keep_seconds=0)
    job = begin(jobs, forever)
    await jobs.cancel(job.id)
    await witness.gone.wait()
    assert jobs.list() == ()
    assert witness.of(job.id)[-1] == ("removed", "cancelled")


@pytest.mark.parametrize("when", ["before it runs", "while it runs"])
async def test_objects_of_a_job_are_closed_with_it(when: str) -> None:
    jobs, _ = make()
    belongings = contextlib.ExitStack()
    closed: list[bool] = []
    belongings.callback(closed.append, True)
    job = begin(jobs, forever, belongings)
    if when == "while it runs":
        await asyncio.sleep(0)
    assert closed == []
    await jobs.cancel(job.id)
    assert closed == [True]


async def test_close_ends_everything_and_accepts_nothing() -> None:
    jobs, _ = make(running_limit=1)
    started = [begin(jobs, forever) for _ in range(3)]
    await asyncio.sleep(0)
    assert await jobs.close(PATIENCE)
    assert {str(job.state) for job in started} == {"cancelled"}
    with pytest.raises(Cancelled):
        begin(jobs, forever)


async def test_a_listener_with_a_defect_harms_no_job(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Witness):
        def changed(self, job: Job, names: frozenset[str]) -> None:
            raise KeyError(job.id, names)

    jobs, _ = make()
    jobs.subscribe(Broken())
    witness = Witness()
    jobs.subscribe(witness)

    async def operation(_job: Job) -> object:
        return 1

    with caplog.at_level(logging.ERROR):
        job = begin(jobs, operation)
        await job.wait()
    assert job.state == "done"
    assert witness.of(job.id)[-1] == ("finished", "done")


async def test_at_most_ten_notices_a_second_including_the_last_one() -> None:
    jobs, witness = make()

    async def operation(job: Job) -> object:
        job.report.set_total(1_000_000, 1)
        end = time.monotonic() + 1.3
        while time.monotonic() < end:
            job.report.add_downloaded(10)
            job.report.add_applied(10)
            await asyncio.sleep(0)
        return None

    job = begin(jobs, operation)
    await job.wait()
    times = [moment for moment, _ in witness.progress]
    values = [value for _, value in witness.progress]
    # An eleventh notice is never within a second of the first of the ten before it.
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[10:], strict=False))
    assert values == sorted(values)
    assert values[-1] == 1.0


async def test_end_of_a_burst_is_announced() -> None:
    told: list[int] = []
    last = asyncio.Event()

    def tell() -> None:
        told.append(progress.bytes_done)
        if progress.bytes_done == 100:
            last.set()

    progress = Progress(lambda _names: None, tell)
    progress.set_total(100, 1)
    for _ in range(100):
        progress.add_downloaded(1)
    await last.wait()
    assert told == [0, 100]
    progress.finish(success=False)


def test_progress_never_falls_and_is_one_only_at_the_end() -> None:
    steps = st.lists(
        st.tuples(st.sampled_from(["total", "down", "up"]), st.integers(0, 10_000)), max_size=30
    )

    @given(steps)
    def check(steps: list[tuple[str, int]]) -> None:
        async def play() -> None:
            progress = Progress(lambda _names: None, lambda: None)
            actions = {
                "total": lambda size: progress.set_total(size, 1),
                "down": progress.add_downloaded,
                "up": progress.add_applied,
            }
            before = 0.0
            for action, size in steps:
                actions[action](size)
                assert before <= progress.fraction < 1
                before = progress.fraction
            progress.finish(success=True)
            assert progress.fraction == 1

        asyncio.run(play())

    check()


async def test_layers_have_figures_that_count_in_the_job() -> None:
    progress = Progress(changed=lambda _names: None, progressed=lambda: None)
    progress.set_total(300, 2)
    first, second = progress.layer("sha256:1", 100), progress.layer("sha256:2", 200)
    first.add_downloaded(100)
    second.add_downloaded(50)
    progress.layer("sha256:1", 100).add_applied(40)
    first.add_applied(100)  # a download that is repeated is more than all
    assert [(one.digest, one.downloaded, one.applied, one.size) for one in progress.layers] == [
        ("sha256:1", 100, 100, 100),
        ("sha256:2", 50, 0, 200),
    ]
    assert progress.bytes_done == 150


async def test_bytes_count_half_when_downloaded_and_half_when_applied() -> None:
    stages: list[frozenset[str]] = []
    progress = Progress(stages.append, lambda: None)
    progress.set_total(1000, 2)
    progress.set_stage(Stage.DOWNLOADING)
    progress.set_stage(Stage.DOWNLOADING)
    progress.add_downloaded(500)
    assert progress.fraction == 0.25
    progress.add_applied(100)
    assert progress.fraction == pytest.approx(0.3)
    progress.layer_done()
    assert (progress.layers_done, progress.layers_total) == (1, 2)
    assert stages == [
        frozenset({"bytes_total", "layers_total"}),
        frozenset({"stage"}),
        frozenset({"layers_done"}),
    ]
    progress.finish(success=False)


async def test_parts_of_a_job_count_the_same_whatever_they_weigh() -> None:
    changes: list[frozenset[str]] = []
    progress = Progress(changes.append, lambda: None)
    first, second = progress.part(4), progress.part(4)
    first.set_total(1000, 2)
    second.set_total(10, 1)
    assert (progress.bytes_total, progress.layers_total) == (1010, 3)
    first.add_downloaded(1000)
    first.add_applied(400)  # and then it fails
    first.finish(success=False)
    assert (progress.bytes_done, progress.fraction) == (1000, 0.7 / 4)
    first.finish(success=True)
    assert progress.fraction == 0.25
    second.layer("sha256:a", 10).add_downloaded(10)
    second.set_stage(Stage.APPLYING)
    second.add_applied(10)
    second.layer_done()
    second.finish(success=True)
    assert (progress.bytes_done, progress.layers_done, progress.fraction) == (1010, 1, 0.5)
    assert [one.downloaded for one in progress.layers] == [10]
    assert progress.stage is Stage.APPLYING
    assert changes.count(frozenset({"stage"})) == 1
    progress.finish(success=True)
