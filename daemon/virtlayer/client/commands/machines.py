# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands that list and control machines, by podman's habits."""

from argparse import Namespace
from collections.abc import Awaitable, Callable
from typing import Any

from virtlayer.client.bus.answers import DomainDetails
from virtlayer.client.bus.caller import Client
from virtlayer.client.bus.values import Options, SmallNumber
from virtlayer.client.common_arguments import add_command
from virtlayer.client.listing import Column, Listing, add_listing, print_listing
from virtlayer.client.output import print_error, print_json, print_line
from virtlayer.client.parser import Commands, Parser
from virtlayer.client.results import DOCUMENTS, result_document
from virtlayer.client.terminal.last_record import TAIL, MachineEnd, end_of_machine
from virtlayer.client.values import seconds
from virtlayer.client.waiting import finished, started
from virtlayer.errors import VirtlayerError
from virtlayer.sizes import human_size

_NO_STATUS = 125
"""The exit status of a machine whose program has none, because it crashed or was stopped by force;
as of ``virtlayer run``."""
_NOT_RUNNING = ("stopped", "crashed")
_KINDS = {
    "StartDomain": "start-domain",
    "StopDomain": "stop-domain",
    "RemoveDomain": "remove-domain",
}
"""The kinds of the jobs that calls start."""

MACHINES = Listing(
    "machines",
    (
        Column("name", "NAME", wraps=True),
        Column("image", "IMAGE", wraps=True),
        Column("state", "STATE"),
        Column("exit_status", "EXIT"),
        Column("addresses", "ADDRESSES", wraps=True),
        Column("ports", "PORTS", lambda ports: ", ".join(ports) or "-", wraps=True),
        Column("pool", "POOL", wraps=True),
        Column("uuid"),
        Column("volume"),
        Column("type"),
        Column("boot"),
        Column("streams"),
        Column("memory", shown=human_size),
        Column("vcpus"),
        Column("ephemeral"),
        Column("autostart"),
        Column("digest"),
    ),
    identifier="name",
)


def add_ps(commands: Commands) -> None:
    """Add ``virtlayer ps``."""
    command = add_command(
        commands,
        "ps",
        "list running machines",
        ps,
        details="These are the machines that virtlayer has made. EXIT is the status with which the "
        "program of a machine ended. PORTS are the ports of the host that lead to the machine.",
    )
    command.add_argument("-a", "--all", action="store_true", help="list stopped machines as well")
    add_listing(command, MACHINES)


async def ps(client: Client, arguments: Namespace) -> None:
    """``virtlayer ps``."""
    rows = [
        domain_document(one)
        for one in await client.domains()
        if arguments.all or one.state not in _NOT_RUNNING
    ]
    print_listing(arguments, rows)


def domain_document(domain: DomainDetails) -> dict[str, Any]:
    """Return a machine for programs; private values are null for other users."""
    return {
        "name": domain.name,
        "image": domain.image,
        "state": domain.state,
        "exit_status": domain.exit_status,
        "addresses": list(domain.addresses),
        "ports": [_port(*port) for port in domain.ports],
        "pool": domain.pool,
        "uuid": domain.uuid,
        "volume": domain.volume or None,
        "type": domain.type,
        "boot": domain.boot,
        "streams": domain.streams,
        "memory": domain.memory,
        "vcpus": domain.vcpus,
        "ephemeral": domain.ephemeral,
        "autostart": domain.autostart,
        "digest": domain.digest or None,
    }


def _port(address: str, host: int, guest: int, transport: str) -> str:
    """Return a published port as podman shows it."""
    shown = f"[{address}]" if ":" in address else address or "0.0.0.0"  # noqa: S104 -- only shown
    return f"{shown}:{host}->{guest}/{transport}"


def add_start(commands: Commands) -> None:
    """Add ``virtlayer start``."""
    _add_names(
        add_command(
            commands,
            "start",
            "start machines",
            start,
            details="A machine has started when it has reached its init.",
            keys=("name", *DOCUMENTS["start-domain"]),
        )
    )


async def start(client: Client, arguments: Namespace) -> None:
    """``virtlayer start``."""
    await _for_each(arguments, lambda name: _job(client, arguments, "StartDomain", name, {}))


def add_stop(commands: Commands) -> None:
    """Add ``virtlayer stop``."""
    command = add_command(
        commands,
        "stop",
        "stop machines",
        stop,
        details="The program gets the stop signal of its image; an image with an init powers off.",
        keys=("name", *DOCUMENTS["stop-domain"]),
    )
    _add_names(command)
    command.add_argument(
        "-t",
        "--time",
        type=seconds,
        metavar="SECONDS",
        help="time until a machine is stopped by force (default: 10)",
    )


async def stop(client: Client, arguments: Namespace) -> None:
    """``virtlayer stop``."""
    options = {} if arguments.time is None else {"timeout": SmallNumber(arguments.time)}
    await _for_each(arguments, lambda name: _job(client, arguments, "StopDomain", name, options))


def add_rm(commands: Commands) -> None:
    """Add ``virtlayer rm``."""
    command = add_command(
        commands,
        "rm",
        "remove machines with their volumes",
        rm,
        details="Images stay. A machine that runs is not removed without --force.",
        keys=("name", *DOCUMENTS["remove-domain"]),
    )
    _add_names(command)
    command.add_argument("-f", "--force", action="store_true", help="stop a machine that runs")


async def rm(client: Client, arguments: Namespace) -> None:
    """``virtlayer rm``."""
    options = {"force": True} if arguments.force else {}
    await _for_each(arguments, lambda name: _job(client, arguments, "RemoveDomain", name, options))


def add_wait(commands: Commands) -> None:
    """Add ``virtlayer wait``."""
    _add_names(
        add_command(
            commands,
            "wait",
            "wait until machines have stopped, and print their exit statuses",
            wait,
            details="The exit status of a machine is that of its program; of an image with an "
            "init, 0 after power-off. It is 125 after a crash, and if the machine was stopped by "
            "force.",
            keys=("name", "exit_status"),
        )
    )


async def wait(client: Client, arguments: Namespace) -> None:
    """``virtlayer wait``."""

    async def wait_for(name: str) -> dict[str, Any]:
        found = await client.describe_domain(name)
        if found.ephemeral:
            # It is removed when it stops, so its status must be read before.
            stream = await client.open_streams(name, tail=TAIL, follow=True)
            end = await end_of_machine(stream)
            return {"name": name, "exit_status": _exit_status(found, end)}
        found = await client.stopped_domain(name)
        end = MachineEnd(found.exit_status, found.state == "crashed")
        return {"name": name, "exit_status": _exit_status(found, end)}

    await _for_each(arguments, wait_for, shown="exit_status")


def _exit_status(domain: DomainDetails, end: MachineEnd) -> int:
    """Return the exit status of a machine that has ended."""
    if end.crashed:
        return _NO_STATUS
    if end.exit_status is not None:
        return end.exit_status
    return _NO_STATUS if domain.streams else 0


async def _job(
    client: Client, arguments: Namespace, member: str, name: str, options: Options
) -> dict[str, Any]:
    """Run a job about a machine; return its document."""
    job = await started(client, client.start(member, "sa{sv}", name, options=options))
    # Its steps have no bytes: on a pipe, their lines would say nothing.
    result = await finished(
        client, job, as_json=arguments.json, only_on_terminal=not arguments.json
    )
    return {"name": name} | result_document(_KINDS[member], result)


async def _for_each(
    arguments: Namespace,
    act: Callable[[str], Awaitable[dict[str, Any]]],
    *,
    shown: str = "name",
) -> None:
    """Do something with each machine that was named; a failure does not spare the next ones.

    Args:
        arguments: The arguments of the command.
        act: Does it with one machine, and returns its document.
        shown: The key that is printed for people.

    Raises:
        VirtlayerError: The last failure; others have been printed.
    """
    documents: list[dict[str, Any]] = []
    failure: VirtlayerError | None = None
    for name in arguments.names:
        try:
            document = await act(name)
        except VirtlayerError as error:
            if failure is not None:
                print_error(failure, as_json=arguments.json)
            failure = error
            continue
        documents.append(document)
        if not arguments.json:
            print_line(str(document[shown]))
    if arguments.json:
        print_json(documents)
    if failure is not None:
        raise failure


def _add_names(command: Parser) -> None:
    command.add_argument(
        "names", metavar="MACHINE", nargs="+", help='their names, from "virtlayer ps --all"'
    )
