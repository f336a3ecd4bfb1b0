# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options for machines."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.protocol.domains import DomainType, Network
from virtlayer.service.bus.options.parsing import DESCRIPTOR, option
from virtlayer.service.bus.options.source import SourceOptions
from virtlayer.service.bus.options.volumes import CustomizationOptions
from virtlayer.service.machines.networks import parse_network, parse_ports
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.new_domain import DEFAULT_MEMORY, DEFAULT_PROCESSORS
from virtlayer.service.operations.machines.pull import PullPolicy
from virtlayer.service.operations.machines.stop_domain import DEFAULT_TIMEOUT
from virtlayer.sizes import check_virtual_size


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDomainOptions(SourceOptions, CustomizationOptions):
    """The options of CreateDomain."""

    pull: str | None = option("s")
    memory: int = option("t", default=DEFAULT_MEMORY)
    vcpus: int = option("u", default=DEFAULT_PROCESSORS)
    type: str | None = option("s")
    network: str | None = option("s")
    publish: Sequence[tuple[str, int, int, str]] | None = option("a(sqqs)")
    kernel: str | None = option("s")
    kernel_version: str | None = option("s")
    command: Sequence[str] | None = option("as")
    entrypoint: Sequence[str] | None = option("as")
    environment: Sequence[str] | None = option("as", secret=True)
    user: str | None = option("s")
    working_directory: str | None = option("s")
    tty: bool = option("b", default=False)
    interactive: bool = option("b", default=False)
    start: bool = option("b", default=True)
    autostart: bool = option("b", default=False)
    ephemeral: bool = option("b", default=False)
    volume_size: int | None = option("t")
    user_data_fd: int | None = option(DESCRIPTOR)

    def __post_init__(self) -> None:
        # Checked here, where the name of the option is known.
        if self.volume_size is not None:
            check_virtual_size('option "volume-size"', self.volume_size)

    @property
    def wanted_type(self) -> DomainType | None:
        """Return how the machine runs; None if the service decides.

        Raises:
            InvalidArgument: It is unknown.
        """
        return None if self.type is None else _known("type", self.type, DomainType)

    @property
    def pull_policy(self) -> PullPolicy:
        """Return when the image is pulled.

        Raises:
            InvalidArgument: It is unknown.
        """
        return PullPolicy.ALWAYS if self.pull is None else _known("pull", self.pull, PullPolicy)

    @property
    def wanted_network(self) -> Network:
        """Return the network, with the published ports.

        Raises:
            InvalidArgument: The network or a port is invalid.
        """
        return parse_network(self.network, parse_ports(self.publish or ()))

    @property
    def startup(self) -> StartupOptions:
        """Return what the machine starts.

        Raises:
            InvalidArgument: Part of it cannot be started.
        """
        return StartupOptions(
            command=tuple(self.command or ()),
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            environment=tuple(self.environment or ()),
            user=self.user or "",
            working_directory=self.working_directory or "",
            terminal=self.tty,
            interactive=self.interactive,
        )

    def check_no_access(self, image: str) -> None:
        """Refuse options for the access to a source if the image is one of the pool.

        Args:
            image: The name of the image.

        Raises:
            InvalidArgument: There is such an option.
        """
        names = ("pull", *(field.name for field in dataclasses.fields(SourceOptions)))
        for field in dataclasses.fields(self):
            if field.name in names and getattr(self, field.name) != field.default:
                raise InvalidArgument(
                    f'The option "{field.name.replace("_", "-")}" is for images that are pulled '
                    f'first, but "{image}" is the name of an image of the pool. To pull it, name '
                    "its source, such as docker://docker.io/library/debian:13."
                )


def _known[Known: StrEnum](option: str, text: str, known: type[Known]) -> Known:
    try:
        return known(text)
    except ValueError:
        raise InvalidArgument(
            f'Invalid option "{option}": "{printable(text[:80])}". Known: {", ".join(known)}.'
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopDomainOptions:
    """The options of StopDomain."""

    timeout: int = option("u", default=DEFAULT_TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDomainOptions:
    """The options of RemoveDomain."""

    force: bool = option("b", default=False)
