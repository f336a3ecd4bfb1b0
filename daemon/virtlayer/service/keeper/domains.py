# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains of libvirt that virtlayer makes; see ``keeper.answers.domains``."""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

from virtlayer.errors import Busy
from virtlayer.file_changes import new_watcher
from virtlayer.protocol import calls
from virtlayer.protocol.domains import (
    Control,
    ControlDomain,
    DefineDomain,
    DomainDefined,
    KnownDomain,
    ListDomains,
    NetworkKind,
    OpenPort,
    Port,
    State,
)
from virtlayer.protocol.domains import Domains as ListedDomains
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.keeper.connection import KeeperLink
from virtlayer.service.keeper.host_network import check_bridge, check_ports
from virtlayer.service.keeper.sealed import sealed_content


@dataclass(slots=True)
class OpenedLog:
    """An open log file.

    A user has 128 inotify descriptors on most hosts (fs.inotify.max_user_instances), and all logs
    that are read at a time share them.

    Attributes:
        file: A descriptor of the file, read-only.
        watcher: An inotify descriptor that becomes readable when the file grows, is rotated or is
            deleted. Read it to get the next change. -1 if it is not watched.
    """

    file: int
    watcher: int

    def stop_watching(self) -> None:
        """Close the inotify descriptor only."""
        watcher, self.watcher = self.watcher, -1
        if watcher != -1:
            os.close(watcher)

    def close(self) -> None:
        """Close both."""
        os.close(self.file)
        self.stop_watching()


class Domains:
    """The domains of libvirt.

    Args:
        link: The link to the keeper.
    """

    def __init__(self, link: KeeperLink) -> None:
        self._link = link

    async def check(self, request: DefineDomain) -> DomainDefined:
        """Check what can be checked before anything is made (the step CHECK).

        Raises:
            DomainExists: libvirt has a domain of that name.
            InUse: A port that is to be published is in use.
            InvalidArgument: The host or the network does not have what is asked for.
            Unsupported: KVM, passt or a network cannot be used.
        """
        checked = await self._link.ask(calls.DEFINE_DOMAIN, request)
        # The keeper has no network of its own, so it cannot see that of the host.
        if checked.network.kind is NetworkKind.BRIDGE:
            check_bridge(checked.network.name)
        check_ports(checked.network.ports)
        return checked

    async def define(
        self,
        claim: Claim,
        request: DefineDomain,
        *,
        config: bytes | None = None,
        seed: bytes | None = None,
    ) -> DomainDefined:
        """Define a domain, or create a transient one paused; or find out if KVM runs guests.

        Args:
            claim: The claim on the volumes of the domain.
            request: The domain, with the step DEFINE or PROBE_KVM.
            config: The configuration of our init; None if it has none.
            seed: A NoCloud seed; None if it has none.

        Returns:
            How it runs. After PROBE_KVM, how the next one will.

        Raises:
            VolumeNotFound: The pool does not have a volume of the domain.
            DomainFailed: libvirt refuses the domain. Nothing of it is left.
            VirtlayerError: See ``check``.
        """
        asked = replace(
            request,
            claim=claim.number,
            has_config=config is not None,
            has_seed=seed is not None,
        )
        with _contents(config, seed) as descriptors:
            done, _ = await claim.connection.ask_with(calls.DEFINE_DOMAIN, asked, descriptors)
        return done

    async def list(self, since: int | None = None) -> ListedDomains:
        """List the domains with virtlayer's metadata, without their addresses.

        Args:
            since: The generation of an earlier list: the reply comes when something differs, or
                after a minute. None for a reply now; NO_GENERATION for one about states.
        """
        return await self._link.ask(calls.LIST_DOMAINS, ListDomains(since=since, name=None))

    async def named(self, name: str) -> KnownDomain | None:
        """Return the domain with virtlayer's metadata that has this name, with its addresses."""
        request = ListDomains(since=None, name=name)
        found = (await self._link.ask(calls.LIST_DOMAINS, request)).domains
        return found[0] if found else None

    async def control(self, uuid: str, pool: str, action: Control) -> State | None:
        """Start or stop a domain, or remove it with its configuration, seed and logs.

        Args:
            uuid: The domain.
            pool: The UUID of the pool of its volumes.
            action: What to do. REMOVE also works if the domain no longer exists.

        Returns:
            Its state; None if it no longer exists.

        Raises:
            DomainNotFound: virtlayer has not made such a domain.
            DomainFailed: It did not start.
            InUse: It should be removed and runs, or has snapshots.
        """
        request = ControlDomain(uuid=uuid, pool=pool, action=action)
        return (await self._link.ask(calls.CONTROL_DOMAIN, request)).state

    async def open_log(self, uuid: str, port: Port, rotated: int = 0) -> OpenedLog | None:
        """Open a log file of a domain, also of one that has ended.

        Args:
            uuid: The domain.
            port: OUTPUT, KERNEL_LOG or QEMU_LOG.
            rotated: 0 for the present file, 1 for the last rotated one, and so on.

        Returns:
            The open file; None if there is none. The caller closes it.

        Raises:
            Busy: This host permits no further inotify descriptor.
        """
        connection = await self._link.connection()
        watcher = _new_watcher()
        try:
            request = OpenPort(uuid=uuid, port=port, rotated=rotated)
            opened, received = await connection.ask_with(calls.OPEN_PORT, request, (watcher,))
        except BaseException:
            os.close(watcher)
            raise
        if not opened.exists:
            os.close(watcher)
            return None
        [file] = received
        return OpenedLog(file, watcher)

    async def open_line(self, uuid: str, port: Port) -> socket.socket:
        """Connect to the input of our init, or to the console of a domain.

        Args:
            uuid: The domain.
            port: INPUT or CONSOLE.

        Returns:
            A stream socket, which the caller closes. It ends when the domain does.

        Raises:
            DomainNotFound: virtlayer has not made such a domain.
            DomainFailed: It does not run, or does not have the port.
            InUse: Another program has it open.
        """
        connection = await self._link.connection()
        request = OpenPort(uuid=uuid, port=port, rotated=0)
        _, [line] = await connection.ask_with(calls.OPEN_PORT, request, ())
        return socket.socket(fileno=line)


def _new_watcher() -> int:
    try:
        return new_watcher()
    except OSError as error:
        raise Busy(
            f"No further log of a machine can be watched: {error.strerror}. Close some streams, or "
            "raise the limit fs.inotify.max_user_instances with sysctl."
        ) from error


@contextlib.contextmanager
def _contents(*contents: bytes | None) -> Iterator[tuple[int, ...]]:
    with contextlib.ExitStack() as stack:
        descriptors = []
        for content in contents:
            if content is not None:
                descriptors.append(sealed_content(content))
                stack.callback(os.close, descriptors[-1])
        yield tuple(descriptors)
