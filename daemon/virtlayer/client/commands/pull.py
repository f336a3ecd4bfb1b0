# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer pull``: pulls an image from its source into a pool."""

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from virtlayer.client.access import absolute_source, access_options
from virtlayer.client.bus.answers import StartedJob
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.values import OptionValue
from virtlayer.client.common_arguments import add_access, add_command, add_pool
from virtlayer.client.customizations import add_customizations, customization_options
from virtlayer.client.output import print_json, print_line, print_warning
from virtlayer.client.parser import Commands
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.values import virtual_size
from virtlayer.client.waiting import finished, started
from virtlayer.errors import VirtlayerError

_OUTCOMES = {
    "new": "pulled",
    "updated": "updated",
    "replaced": "replaced an image of another source",
    "repaired": "repaired",
    "unchanged": "up to date",
}


def add_pull(commands: Commands) -> None:
    """Add ``virtlayer pull``."""
    command = add_command(
        commands,
        "pull",
        "pull an image into a pool, as a chain of volumes",
        pull,
        details="With --no-wait, the JSON has the keys id and object of the job.",
        keys=DOCUMENTS["pull"],
    )
    command.add_argument(
        "source", metavar="SOURCE", help="such as docker://docker.io/library/debian:13"
    )
    add_pool(command)
    command.add_argument("--name", help="name of the image in the pool (default: from the source)")
    command.add_argument(
        "--replace",
        action="store_true",
        help="replace an image of another source that has the name",
    )
    command.add_argument(
        "--format",
        choices=("qcow2", "dir", "disk"),
        default="qcow2",
        help="a chain of volumes (default), one directory, or the disk that is in the image",
    )
    command.add_argument(
        "--id-map",
        choices=("auto",),
        help="with --format=dir: map the IDs of the files for a container with a user namespace",
    )
    command.add_argument(
        "--size",
        metavar="SIZE",
        type=virtual_size,
        help="virtual size of the volumes, with a unit, such as 20G",
    )
    command.add_argument(
        "--no-cache", dest="cache", action="store_false", help="do not keep downloaded blobs"
    )
    command.add_argument(
        "--no-wait", dest="wait", action="store_false", help="print the job ID and do not wait"
    )
    command.add_argument(
        "--volume",
        metavar="NAME",
        help="also create this writable volume; with --format=dir or disk, the result's name",
    )
    command.add_argument(
        "--volume-size",
        metavar="SIZE",
        type=virtual_size,
        help="virtual size of that volume, with a unit (default: the image's)",
    )
    add_access(command)
    add_customizations(command)


async def pull(client: Client, arguments: Namespace) -> None:
    """``virtlayer pull``."""
    source = absolute_source(arguments.source)
    with access_options(arguments) as (access, sent), customization_options(arguments) as changes:
        options = access | changes | _pull_options(arguments)
        job = await started(client, client.pull(source, arguments.pool, options))
    if not arguments.wait:
        _print_started(job, as_json=arguments.json)
        await sent.finished()
        return
    try:
        result = await finished(client, job, as_json=arguments.json)
    except VirtlayerError:
        sent.check()
        raise
    document = result_document("pull", result)
    if arguments.json:
        print_json(document)
        return
    print_line(_pulled(document))
    for warning in _warnings(document):
        print_warning(warning)


def _warnings(result: Mapping[str, Any]) -> list[str]:
    """Return warnings about the use of the image; a daemon may be older than this command."""
    found = []
    if result.get("foreign"):
        found.append(
            f"The image is for {result['platform']}, and this host is {result['host_platform']}. "
            "A machine with it needs emulation, which is slow."
        )
    if result.get("container_disk"):
        found.append(
            "The image contains the disk of a machine (a containerDisk). Pull it with "
            "--format=disk to get that disk as a volume."
        )
    return found


def _pull_options(arguments: Namespace) -> dict[str, OptionValue]:
    options: dict[str, OptionValue] = {}
    if arguments.name:
        options["name"] = arguments.name
    if arguments.replace:
        options["replace"] = True
    if arguments.format != "qcow2":
        options["format"] = arguments.format
    if arguments.id_map is not None:
        options["id-map"] = arguments.id_map
    if arguments.size:
        options["size"] = arguments.size
    if not arguments.cache:
        options["cache"] = False
    if arguments.volume is not None:
        options["volume"] = arguments.volume
    if arguments.volume_size:
        options["volume-size"] = arguments.volume_size
    return options


def _print_started(job: StartedJob, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": job.id, "object": job.path})
    else:
        print_line(f"{job.id}")


def _pulled(result: Mapping[str, Any]) -> str:
    parts = _whole(result) if "format" in result else _changes(result)
    return f"{result['name']}: {result['path']} ({'; '.join(parts)})"


def _changes(result: Mapping[str, Any]) -> Iterator[str]:
    """Return the text about the change in the pool."""
    outcome = _OUTCOMES.get(result.get("outcome", "new"), "pulled")  # a daemon may be older
    built, reused = result["layers_built"], result["layers_reused"]
    if result.get("outcome") == "unchanged":
        yield outcome
    else:
        yield f"{outcome}: {built} {'layer' if built == 1 else 'layers'} built, {reused} reused"
    if result.get("volume_created"):
        yield "volume created"


def _whole(result: Mapping[str, Any]) -> Iterator[str]:
    """Return the format of a directory or disk, and the parts of the image that it lacks."""
    yield result["format"]
    if result.get("squashed"):
        yield "you own all files; setuid bits are dropped"
    for key, what in (("devices", "device"), ("attributes", "extended attribute")):
        if count := result.get(f"skipped_{key}"):
            yield f"{count} {what}{'' if count == 1 else 's'} left out"
