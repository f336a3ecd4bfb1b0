# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands about jobs."""

import dataclasses
from argparse import Namespace

from virtlayer.client.bus.caller import Client
from virtlayer.client.common_arguments import add_command
from virtlayer.client.output import print_json, print_line, print_table
from virtlayer.client.parser import Commands
from virtlayer.client.values import job_id


def add_jobs(commands: Commands) -> None:
    """Add ``virtlayer jobs``."""
    add_command(commands, "jobs", "list running, queued and recent jobs", jobs)


async def jobs(client: Client, arguments: Namespace) -> None:
    """``virtlayer jobs``."""
    listed = await client.list_jobs()
    if arguments.json:
        print_json([dataclasses.asdict(job) for job in listed])
    else:
        print_table(
            ("ID", "KIND", "STATE", "PROGRESS", "SOURCE"),
            [
                (str(job.id), job.kind, job.state, f"{job.progress:.0%}", job.source)
                for job in listed
            ],
        )


def add_cancel(commands: Commands) -> None:
    """Add ``virtlayer cancel``."""
    command = add_command(commands, "cancel", "cancel a job", cancel)
    command.add_argument("id", metavar="ID", type=job_id, help='its ID, from "virtlayer jobs"')


async def cancel(client: Client, arguments: Namespace) -> None:
    """``virtlayer cancel``."""
    await client.cancel(arguments.id)
    if arguments.json:
        print_json({"id": arguments.id})
    else:
        print_line(f"Cancelled job {arguments.id}.")
