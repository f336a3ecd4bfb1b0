# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about jobs."""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from virtlayer.client.bus.answers import JobDetails
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.failures import as_typed
from virtlayer.client.common_arguments import add_command
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.output import print_fields, print_json, print_line
from virtlayer.client.parser import Commands
from virtlayer.client.progress import shown_progress
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.times import age, iso_time, local_time
from virtlayer.client.values import job_id
from virtlayer.errors import NoSuchJob, ServiceUnavailable
from virtlayer.sizes import human_size

JOBS = Listing(
    "jobs",
    (
        Column("id", "ID"),
        Column("kind", "KIND"),
        Column("state", "STATE"),
        Column("progress", "DONE", lambda progress: f"{progress:.0%}"),
        Column("pool", "POOL", lambda pool: pool or "-", wraps=True),
        Column("user", "USER", wraps=True),
        Column("started_at", "AGE", age),
        Column("subject", "SUBJECT", lambda subject: subject or "-", wraps=True),
        Column("stage"),
        Column("uid"),
        Column("finished_at", shown=lambda time: local_time(time, "-")),
        Column("error"),
        Column("message"),
        Column("object"),
    ),
    identifier="id",
)


def add_jobs(commands: Commands) -> None:
    """Add ``virtlayer jobs``."""
    command = add_command(
        commands,
        "jobs",
        "list running, queued and recent jobs",
        jobs,
        details="SUBJECT is the source of a pull, else the name of an image. USER is who started "
        "the job, and AGE how long ago it left the queue. The messages of failed jobs follow the "
        "table.",
    )
    add_listing(command, JOBS)


async def jobs(client: Client, arguments: Namespace) -> None:
    """``virtlayer jobs``."""
    found = await client.jobs()
    users = await client.host.user_names({job.started_by for job in found})
    rows = [job_document(job, users) for job in found]
    for row in print_listing(arguments, rows):
        if row["state"] == "failed":
            print_line(f"Job {row['id']} failed: {row['message'] or row['error']}")


def add_job(commands: Commands) -> None:
    """Add ``virtlayer job``, which has subcommands."""
    command = add_command(commands, "job", "show one job, wait for it, or show its log", None)
    below = command.add_subparsers(
        dest="subcommand", title="commands", metavar="COMMAND", required=True
    )
    _add_id(
        add_command(
            below,
            "show",
            "show what a job does and how it ended",
            show_job,
            details="In JSON, the key result has what the command prints that starts such a job.",
            keys=(*(column.key for column in JOBS.columns), "result"),
        )
    )
    _add_id(
        add_command(
            below,
            "wait",
            "wait until a job has ended",
            wait_for_job,
            details="The exit status is that of the command that started the job. Ctrl-C ends the "
            "waiting, not the job.",
            keys=tuple(dict.fromkeys(key for keys in DOCUMENTS.values() for key in keys)),
        )
    )
    _add_id(
        add_command(
            below,
            "log",
            "show the lines of a job in the journal",
            show_log,
            details="Runs journalctl(1) with your rights. A service that was started by hand does "
            "not write into the journal.",
        )
    )


async def show_job(client: Client, arguments: Namespace) -> None:
    """``virtlayer job show``."""
    job = await client.job(arguments.id)
    document = job_document(job, await client.host.user_names([job.started_by]))
    if arguments.json:
        print_json(document | {"result": result_document(job.kind, job.result) or None})
        return
    print_fields(
        [
            (name, value)
            for name, value in (
                ("job", str(job.id)),
                ("kind", job.kind),
                ("state", job.state),
                ("progress", f"{job.progress:.0%}"),
                ("stage", "" if job.finished_at else job.stage),
                ("pool", job.pool),
                ("subject", document["subject"]),
                ("user", document["user"]),
                ("started", local_time(document["started_at"], "")),
                ("finished", local_time(document["finished_at"], "")),
                ("error", document["error"]),
                ("message", document["message"]),
                *_result_fields(result_document(job.kind, job.result)),
            )
            if value
        ]
    )


async def wait_for_job(client: Client, arguments: Namespace) -> None:
    """``virtlayer job wait``."""
    kind = (await client.job(arguments.id)).kind
    job = await client.present_job(arguments.id)
    with shown_progress(as_json=arguments.json) as show:
        outcome = await client.wait(job, show)
    outcome.raise_for_failure()
    if arguments.json:
        print_json(result_document(kind, outcome.result))
    else:
        print_line(f"Job {arguments.id} ({kind}) is done.")


async def show_log(client: Client, arguments: Namespace) -> int:
    """``virtlayer job log``; the exit status is that of journalctl."""
    pid = None
    # A service that is not running or no longer lists the job may have logged it before.
    with contextlib.suppress(NoSuchJob, ServiceUnavailable):
        job = await client.present_job(arguments.id)
        pid = await client.pid(job.owner)
    return await client.host.print_journal(arguments.id, pid, as_json=arguments.json)


def add_cancel(commands: Commands) -> None:
    """Add ``virtlayer cancel``."""
    _add_id(add_command(commands, "cancel", "cancel a job", cancel, keys=("id",)))


async def cancel(client: Client, arguments: Namespace) -> None:
    """``virtlayer cancel``."""
    await client.cancel(arguments.id)
    if arguments.json:
        print_json({"id": arguments.id})
    else:
        print_line(f"Job {arguments.id} was cancelled.")


def job_document(job: JobDetails, users: Mapping[int, str]) -> dict[str, Any]:
    """Return a job for programs; private values are null for other users.

    Args:
        job: The job.
        users: Names of users.
    """
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "progress": job.progress,
        "stage": job.stage or None,
        "pool": job.pool or None,
        "subject": job.source or None,
        "user": users.get(job.started_by, str(job.started_by)),
        "uid": job.started_by,
        "started_at": iso_time(job.started_at),
        "finished_at": iso_time(job.finished_at),
        "error": job.error.rpartition(".")[2] or None,
        "message": as_typed(job.message) or None,
        "object": job.path,
    }


def _add_id(command: ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", type=job_id, help='its ID, from "virtlayer jobs"')


def _result_fields(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the parts of a result that fit on a line, with the keys of the JSON."""
    for key, value in result.items():
        name = key.replace("_", " ")
        if isinstance(value, str) and key != "object":
            yield name, value
        elif isinstance(value, int) and not isinstance(value, bool):
            is_size = key.startswith("bytes_") or key.endswith("_size")
            yield name, human_size(value) if is_size else str(value)
