# SPDX-License-Identifier: LGPL-2.1-or-later
"""The request for a new machine, in CreateDomain."""

from dataclasses import dataclass, field
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.domains import DomainType, Network, NetworkKind
from virtlayer.protocol.names import DomainName, ImageName, PoolName
from virtlayer.service.machines.startup import StartupOptions
from virtlayer.service.operations.machines.pull import PullPolicy
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.sizes import GIB, MIB, human_size

DEFAULT_MEMORY = 1 * GIB
DEFAULT_PROCESSORS = 2
_DEFAULT_NETWORK = Network(kind=NetworkKind.DEFAULT)
_LEAST_MEMORY = 64 * MIB
_MOST_MEMORY = 2**50
_MOST_PROCESSORS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDomainRequest:
    """A request for a machine or a container; ``repr()`` shows no secret.

    Attributes:
        pool: The name of the pool; ``default_pool`` has the default.
        image: The name of the image in the pool: of a chain, or of a disk or directory that was
            made of an image.
        pull: Pulls the image first, under that name; None for an image that the pool has.
        pull_policy: When it is pulled.
        name: The name of the domain; None for one from the image, with a number.
        volume: The size and the customization of its volume, whose name will be the domain's.
        memory: In bytes.
        processors: The number of virtual processors.
        type: How it runs; None for KVM where that runs guests, else QEMU.
        network: Its network.
        kernel: A file of the host, or an image of the pool that has a kernel; None for the image's
            kernel or the default one.
        kernel_version: Selects one of several kernels; None if there is only one.
        startup: What it starts.
        user_data: The user data for cloud-init, for a disk; None for none. Can have secrets.
        start: Whether it is started.
        autostart: Whether libvirt starts it with the host.
        ephemeral: Whether it is deleted, with its volume, when it stops.

    Raises:
        InvalidArgument: An option is invalid, or options exclude each other.
    """

    pool: PoolName
    image: ImageName
    pull: PullRequest | None = None
    pull_policy: PullPolicy = PullPolicy.ALWAYS
    name: DomainName | None = None
    volume: NewVolume
    memory: int = DEFAULT_MEMORY
    processors: int = DEFAULT_PROCESSORS
    type: DomainType | None = None
    network: Network = _DEFAULT_NETWORK
    kernel: Path | ImageName | None = None
    kernel_version: str | None = None
    startup: StartupOptions = field(default_factory=StartupOptions)
    user_data: bytes | None = field(default=None, repr=False)
    start: bool = True
    autostart: bool = False
    ephemeral: bool = False

    def __post_init__(self) -> None:
        if not _LEAST_MEMORY <= self.memory <= _MOST_MEMORY:
            raise InvalidArgument(
                f'Invalid option "memory": {human_size(self.memory)}. A machine has from '
                f"{human_size(_LEAST_MEMORY)} to {human_size(_MOST_MEMORY)}."
            )
        if not 1 <= self.processors <= _MOST_PROCESSORS:
            raise InvalidArgument(
                f'Invalid option "vcpus": {self.processors}. A machine has from 1 to '
                f"{_MOST_PROCESSORS} virtual processors."
            )
        if self.ephemeral and self.autostart:
            raise InvalidArgument(
                'The option "ephemeral" and the option "autostart" exclude each other: an '
                "ephemeral machine is deleted when it stops."
            )
        if self.type is DomainType.LXC:
            self._check_container()

    def _check_container(self) -> None:
        changes = self.volume != NewVolume(name=self.volume.name)
        for option, is_given in (
            ("kernel", self.kernel is not None),
            ("kernel-version", self.kernel_version is not None),
            ("user-data-fd", self.user_data is not None),
        ):
            if is_given:
                raise InvalidArgument(
                    f'The option "{option}" cannot be used with the option "type=lxc": a container '
                    "runs on the host's kernel."
                )
        if self.pull is not None or changes:
            raise InvalidArgument(
                "A container runs in a directory that was pulled before, and does not change it. "
                "Pull the image with --format=dir --id-map=auto, with the options that customize "
                "it, and name it then."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedDomain:
    """A machine or container that was made.

    Attributes:
        name: The name of the domain.
        uuid: The UUID of the domain.
        pool: The name of the pool of its volume.
        image: The name of the image.
        digest: The digest of the image's manifest.
        volume: The name of its volume.
        path: The path of the volume's file or directory.
        type: How it runs.
        network: Its network, as the option ``network`` has it.
        kernel_version: The version of its kernel; "" for a disk or a container.
        notes: What the user should know, as sentences: why it is emulated, for instance.
        started: Whether it was started.
    """

    name: str
    uuid: str
    pool: str
    image: str
    digest: str
    volume: str
    path: Path
    type: DomainType
    network: str
    kernel_version: str
    notes: tuple[str, ...]
    started: bool
