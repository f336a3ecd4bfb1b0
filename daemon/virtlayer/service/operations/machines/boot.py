# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decides what a machine boots and starts, and composes its configuration."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.domains import Boot, NetworkKind
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.hostname import is_hostname
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogImage, CatalogVolume
from virtlayer.service.jobs.job import Job
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.machines.kernels import KernelChoice
from virtlayer.service.machines.seed import Seed, seed_image
from virtlayer.service.machines.startup import Startup, StartupOptions, startup_of
from virtlayer.service.operations.machines.boot_files import boot_files
from virtlayer.service.operations.machines.image import MachineImage
from virtlayer.service.operations.machines.new_domain import CreateDomainRequest
from virtlayer.service.operations.services import Services

_DEFAULT_INIT = "/sbin/init"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineBoot:
    """What a machine boots with; ``repr()`` shows no secret.

    Attributes:
        boot: How it boots.
        kernel: The volume of its kernel; None if it has none.
        initrd: The volume of its initrd; None if it has none.
        kernel_version: The version of its kernel; "" if it has none.
        os_id: The libosinfo id of its operating system; "" if unknown.
        has_streams: Whether our init stays, and has its output and input.
        config: The configuration of our init; None without our init.
        seed: The NoCloud seed of a disk; None if there is none.
    """

    boot: Boot
    kernel: str | None = None
    initrd: str | None = None
    kernel_version: str = ""
    os_id: str = ""
    has_streams: bool = False
    config: bytes | None = field(default=None, repr=False)
    seed: bytes | None = field(default=None, repr=False)

    @property
    def volumes(self) -> tuple[str, ...]:
        """The names of its boot volumes."""
        return tuple(name for name in (self.kernel, self.initrd) if name is not None)


@dataclass(frozen=True, slots=True)
class NewDomain:
    """The domain that boots.

    Attributes:
        name: Its name.
        uuid: Its UUID.
    """

    name: str
    uuid: str


async def machine_boot(
    services: Services,
    claim: Claim,
    image: MachineImage,
    request: CreateDomainRequest,
    domain: NewDomain,
    job: Job,
) -> MachineBoot:
    """Find what a machine boots and starts; its boot volumes exist then and are claimed.

    Args:
        services: The daemon's parts.
        claim: The claim of the job on the image.
        image: The image, disk or directory.
        request: The machine.
        domain: Its domain.
        job: The job.

    Raises:
        InvalidArgument: There is nothing to start, or an option is not for such an image.
        NoKernel: There is no kernel.
        AmbiguousKernel: There are several.
        VirtlayerError: The boot files cannot be made. Only boot volumes are left then.
    """
    match image:
        case CatalogImage():
            return await _of_chain(services, claim, image, request, domain, job)
        case CatalogVolume(kind=RecordKind.DIRECTORY):
            return await _of_directory(image, request, domain)
        case CatalogVolume():
            return await _of_disk(image, request, domain)


async def _of_chain(
    services: Services,
    claim: Claim,
    image: CatalogImage,
    request: CreateDomainRequest,
    domain: NewDomain,
    job: Job,
) -> MachineBoot:
    if request.user_data is not None:
        raise InvalidArgument(
            f'The option "user-data-fd" is for the disk of a machine, but "{image.name}" is an '
            "image of a root file system. Omit it."
        )
    startup = await asyncio.to_thread(startup_of, image.config, request.startup)
    choice = KernelChoice(
        kernel=request.kernel,
        version=request.kernel_version,
        starts_init=startup.is_init if startup.arguments else None,
    )
    files = await boot_files(services, claim, image, choice, job)
    startup = startup.with_init(files.image_init, image.name)
    has_our_init = files.boot is Boot.OWN_INITRD
    config = _config(startup, request, domain).encoded() if has_our_init else None
    return MachineBoot(
        boot=files.boot,
        kernel=files.kernel,
        initrd=files.initrd,
        kernel_version=files.kernel_version,
        os_id=files.os_id,
        has_streams=has_our_init and not startup.is_init,
        config=config,
    )


async def _of_directory(
    directory: CatalogVolume, request: CreateDomainRequest, domain: NewDomain
) -> MachineBoot:
    startup = await asyncio.to_thread(startup_of, directory.config, request.startup)
    # Whether the directory has it is not known here; our init reports it.
    startup = startup.with_init(_DEFAULT_INIT, directory.name)
    return MachineBoot(
        boot=Boot.CONTAINER,
        has_streams=not startup.is_init,
        config=_config(startup, request, domain).encoded(),
    )


async def _of_disk(
    disk: CatalogVolume, request: CreateDomainRequest, domain: NewDomain
) -> MachineBoot:
    _check_disk_options(disk, request)
    volume = request.volume
    customization = await volume.customization(0)
    seed = Seed(
        instance_id=UUID(domain.uuid),
        hostname=volume.hostname or (domain.name if is_hostname(domain.name) else None),
        ssh_authorized_keys=volume.ssh_authorized_keys,
        root_password_hash=customization.root_password_hash,
        user_data=request.user_data,
    )
    return MachineBoot(boot=Boot.DISK, seed=await asyncio.to_thread(seed_image, seed))


def _check_disk_options(disk: CatalogVolume, request: CreateDomainRequest) -> None:
    """Check that no option is about what a disk decides itself.

    Raises:
        InvalidArgument: There is one.
    """
    volume = request.volume
    for option, is_given in (
        ("kernel", request.kernel is not None),
        ("kernel-version", request.kernel_version is not None),
        ("uid-map", bool(volume.uid_map)),
        ("gid-map", bool(volume.gid_map)),
        ("grow-filesystem", volume.grow_filesystem),
        ("keep-identity", volume.keep_identity),
        ("command", request.startup != StartupOptions()),
    ):
        if is_given:
            raise InvalidArgument(
                f'The option "{option}" cannot be used with "{disk.name}": the disk of a machine '
                "boots and starts what it contains. Omit the option."
            )


def _config(startup: Startup, request: CreateDomainRequest, domain: NewDomain) -> GuestConfig:
    return GuestConfig(
        arguments=startup.arguments,
        environment=startup.environment,
        directory=startup.directory,
        user=startup.user,
        hostname=_hostname(startup, request, domain),
        terminal=startup.terminal,
        interactive=startup.interactive,
        stop_signal=startup.stop_signal,
        dhcp=request.network.kind is not NetworkKind.NONE,
        is_init=startup.is_init,
    )


def _hostname(startup: Startup, request: CreateDomainRequest, domain: NewDomain) -> str:
    """Return the host name that our init sets; "" for that of the image."""
    if request.volume.hostname is not None:
        return request.volume.hostname
    return domain.name if not startup.is_init and is_hostname(domain.name) else ""
