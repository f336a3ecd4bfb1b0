# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a machine of an image: boot files, a volume, a domain; and starts it.

What can be checked is checked first. The record of the volume says until the end that the volume
is expendable: if this process is killed, what it has left is swept (``sweeping``).
"""

import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from virtlayer import journal
from virtlayer.cancellation import to_completion
from virtlayer.errors import DomainExists, DomainNotFound, VirtlayerError
from virtlayer.protocol.domains import (
    Boot,
    Control,
    DefineDomain,
    DomainDefined,
    DomainType,
    IdMap,
    Step,
)
from virtlayer.protocol.host_id import host_id
from virtlayer.protocol.names import DomainName
from virtlayer.protocol.pools import Pool, Volume
from virtlayer.protocol.records import RecordKind
from virtlayer.service.catalog.catalog import CatalogImage, CatalogVolume
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.progress import Stage
from virtlayer.service.keeper.claims import Claim
from virtlayer.service.machines.names import volume_of
from virtlayer.service.machines.networks import network_text
from virtlayer.service.operations.machines.boot import MachineBoot, NewDomain, machine_boot
from virtlayer.service.operations.machines.image import MachineImage, container_disk, machine_image
from virtlayer.service.operations.machines.new_domain import CreatedDomain, CreateDomainRequest
from virtlayer.service.operations.machines.ownership import keep_volume
from virtlayer.service.operations.machines.pull import pull_by_policy
from virtlayer.service.operations.machines.starting import Startable, start_machine
from virtlayer.service.operations.machines.sweeping import sweep_machines
from virtlayer.service.operations.machines.volume import machine_volume
from virtlayer.service.operations.services import Services
from virtlayer.service.records.values import Machine
from virtlayer.settings import CONTAINER_IDS

_log = logging.getLogger(__name__)


async def create_domain(
    services: Services, request: CreateDomainRequest, job: Job
) -> CreatedDomain:
    """Make a machine or a container, and start it if that is wanted.

    Raises:
        ImageNotFound: The pool has no image of that name.
        DomainExists: libvirt has a domain of that name.
        VolumeExists: The pool has a volume of that name.
        NoKernel: There is no kernel to boot with.
        AmbiguousKernel: The image has several kernels.
        DomainFailed: It did not start, or did not reach its init.
        InUse: A published port, or the directory of a container, is in use.
        InvalidArgument: The image cannot be used in this way, or has nothing to start.
        Unsupported: This host lacks what the machine needs.
        VirtlayerError: It failed in another way. Nothing is left then, except boot files.
    """
    created = await _Creation(services, request, job).run()
    if request.ephemeral and request.start:
        # It may have ended already, when the job had a claim on its volume.
        await sweep_machines(services, await services.pools.get(request.pool))
    return created


@dataclass(frozen=True, slots=True)
class _Checked:
    """A machine that can be made.

    Attributes:
        definition: Its domain, as far as it is known.
        found: How it would run.
    """

    definition: DefineDomain
    found: DomainDefined


class _Creation:
    def __init__(self, services: Services, request: CreateDomainRequest, job: Job) -> None:
        self._services = services
        self._request = request
        self._job = job
        self._uuid = str(uuid.uuid4())

    async def run(self) -> CreatedDomain:
        services, request = self._services, self._request
        pool = await services.pools.get(request.pool)
        await services.sweeper.visit(pool)
        async with self._checked(pool) as checked:
            if request.pull is not None:
                policy = request.pull_policy
                pulled = await pull_by_policy(services, pool, request.pull, policy, self._job)
                if pulled is not None and pulled.container_disk:
                    raise container_disk(pulled.name)
            image = await self._image_to_claim(pool)
            volume = image.name if self._is_container else volume_of(pool, self._name(checked))
            async with services.claims.claimed(pool, [volume, _claimed(image)]) as claim:
                return await self._made(checked, claim, await self._claimed_image(claim, image))

    @property
    def _is_container(self) -> bool:
        return self._request.type is DomainType.LXC

    def _name(self, checked: _Checked) -> DomainName:
        return DomainName(checked.definition.name)

    @contextlib.asynccontextmanager
    async def _checked(self, pool: Pool) -> AsyncIterator[_Checked]:
        """Check what can be checked before anything is made, and choose a name if there is none.

        Raises:
            VirtlayerError: The machine cannot be made.
        """
        services, request = self._services, self._request
        if request.name is not None:
            yield await self._check(pool, request.name)
            return
        taken = {domain.name for domain in (await services.keeper.domains.list()).domains}
        with contextlib.ExitStack() as chosen:
            checked = None
            while checked is None:
                name = chosen.enter_context(services.domain_names.chosen(request.image, taken))
                # Other programs can have a domain or a volume of the name.
                if not await services.pools.inodes(pool, [volume_of(pool, name)]):
                    with contextlib.suppress(DomainExists):
                        checked = await self._check(pool, name)
                taken.add(name)
            yield checked

    async def _check(self, pool: Pool, name: DomainName) -> _Checked:
        definition = self._definition(pool, name)
        return _Checked(definition, await self._services.keeper.domains.check(definition))

    def _definition(self, pool: Pool, name: DomainName) -> DefineDomain:
        """Return the domain, without its image and boot files."""
        request, id_map = self._request, None
        if self._is_container:
            id_map = IdMap(base=self._services.settings.directory.id_base, count=CONTAINER_IDS)
        return DefineDomain(
            step=Step.CHECK,
            claim=None,
            name=name,
            uuid=self._uuid,
            pool=pool.uuid,
            type=request.type,
            memory=request.memory,
            processors=request.processors,
            network=request.network,
            boot=Boot.CONTAINER if self._is_container else Boot.OWN_INITRD,
            kernel=None,
            initrd=None,
            disk=None,
            disk_format="dir" if self._is_container else pool.chain_format,
            has_config=False,
            has_seed=False,
            has_streams=False,
            id_map=id_map,
            autostart=request.autostart,
            ephemeral=request.ephemeral,
            image=request.image,
            digest="",
            os_id="",
        )

    async def _image(self, pool: Pool) -> MachineImage:
        return await machine_image(
            self._services, pool, self._request.image, container=self._is_container
        )

    async def _image_to_claim(self, pool: Pool) -> MachineImage:
        """Return the image as the catalog has it, which may be older than the pool."""
        with contextlib.suppress(VirtlayerError):
            return await self._image(pool)
        await self._services.records.synchronize(pool)
        return await self._image(pool)

    async def _claimed_image(self, claim: Claim, before: MachineImage) -> MachineImage:
        """Return the image, which any host may have removed or replaced before the claim."""
        while True:
            await self._services.records.synchronize(claim.pool)
            image = await self._image(claim.pool)
            if _claimed(image) == _claimed(before):
                return image
            await claim.add([_claimed(image)])
            before = image

    async def _made(self, checked: _Checked, claim: Claim, image: MachineImage) -> CreatedDomain:
        services, request, name = self._services, self._request, self._name(checked)
        domain = NewDomain(name, self._uuid)
        boot = await machine_boot(services, claim, image, request, domain, self._job)
        await self._probe_kvm(checked, claim, boot)
        machine = Machine(
            domain=self._uuid,
            host=host_id(),
            boot_volumes=boot.volumes,
            expendable=True,
        )
        wanted = replace(request.volume, name=volume_of(claim.pool, name))
        async with machine_volume(services, claim, image, wanted, machine, self._job) as volume:
            definition = _completed(checked, image, boot, volume)
            async with self._defined(claim, definition, boot) as found:
                if request.start:
                    await start_machine(services, _startable(definition), self._job)
        if not request.ephemeral:
            await keep_volume(services, claim, _kind(image), volume.name)
        self._log(name, volume, claim.pool)
        return CreatedDomain(
            name=name,
            uuid=self._uuid,
            pool=claim.pool.name,
            image=_image_name(image),
            digest=image.digest,
            volume=volume.name,
            path=volume.path,
            type=found.type,
            network=network_text(found.network),
            kernel_version=boot.kernel_version,
            notes=found.notes,
            started=request.start,
        )

    async def _probe_kvm(self, checked: _Checked, claim: Claim, boot: MachineBoot) -> None:
        """Find out whether KVM runs guests on this host, if that is not known and matters.

        Raises:
            Unsupported: The request is for KVM, which runs no guests.
        """
        if not checked.found.kvm_known:
            probe = replace(
                checked.definition,
                step=Step.PROBE_KVM,
                boot=boot.boot,
                kernel=boot.kernel,
                initrd=boot.initrd,
            )
            await self._services.keeper.domains.define(claim, probe)

    @contextlib.asynccontextmanager
    async def _defined(
        self, claim: Claim, definition: DefineDomain, boot: MachineBoot
    ) -> AsyncIterator[DomainDefined]:
        """Define the domain; it is removed again if the context is left with an error."""
        define = self._services.keeper.domains.define
        self._job.report.set_stage(Stage.DEFINING)
        defining = define(claim, definition, config=boot.config, seed=boot.seed)
        try:
            # A domain that this process does not know would stay.
            yield await to_completion(defining)
        except BaseException:
            await to_completion(self._remove_domain(claim))
            raise

    async def _remove_domain(self, claim: Claim) -> None:
        control = self._services.keeper.domains.control
        try:
            with contextlib.suppress(DomainNotFound):
                await control(self._uuid, claim.pool.uuid, Control.DESTROY)
            await control(self._uuid, claim.pool.uuid, Control.REMOVE)
        except VirtlayerError as error:
            # The job's own error is reported to its caller.
            _log.warning(
                "Job %d cannot remove the unfinished machine with the UUID %s: %s",
                self._job.id,
                self._uuid,
                error,
                extra=journal.fields(job=self._job.id, pool=claim.pool.name),
            )

    def _log(self, name: DomainName, volume: Volume, pool: Pool) -> None:
        _log.info(
            'Job %d has made the machine "%s" with the volume "%s" in the pool "%s".',
            self._job.id,
            name,
            volume.name,
            pool.name,
            extra=journal.fields(job=self._job.id, pool=pool.name, volume=volume.name),
        )


def _completed(
    checked: _Checked, image: MachineImage, boot: MachineBoot, volume: Volume
) -> DefineDomain:
    """Return the description of the domain with all that it needs."""
    return replace(
        checked.definition,
        step=Step.DEFINE,
        boot=boot.boot,
        kernel=boot.kernel,
        initrd=boot.initrd,
        disk=volume.name,
        has_streams=boot.has_streams,
        image=_image_name(image),
        digest=image.digest,
        os_id=boot.os_id,
        id_map=_id_map(image),
    )


def _id_map(image: MachineImage) -> IdMap | None:
    """Return the IDs of a container, as those in its directory were mapped; None for a machine."""
    if isinstance(image, CatalogImage) or image.id_base is None:
        return None
    return IdMap(base=image.id_base, count=CONTAINER_IDS)


def _image_name(image: MachineImage) -> str:
    return image.name if isinstance(image, CatalogImage) else image.image


def _claimed(image: MachineImage) -> str:
    """Return the volume to claim, which protects all that it is based on."""
    return image.volume if isinstance(image, CatalogImage) else image.name


def _kind(image: MachineImage) -> RecordKind:
    """Return the kind of the record of the machine's volume."""
    if isinstance(image, CatalogVolume) and image.kind is RecordKind.DIRECTORY:
        return RecordKind.DIRECTORY
    return RecordKind.VOLUME


def _startable(domain: DefineDomain) -> Startable:
    return Startable(
        name=domain.name, uuid=domain.uuid, pool=domain.pool, has_streams=domain.has_streams
    )
