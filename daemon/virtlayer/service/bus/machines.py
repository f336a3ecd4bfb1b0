# SPDX-License-Identifier: LGPL-2.1-or-later
"""The members of ``org.virtlayer1.Manager`` about machines."""

import contextlib
import dataclasses
from collections.abc import Mapping

from dbus_next.signature import Variant

from virtlayer.protocol.names import parse_domain_name, parse_pool_name
from virtlayer.service.bus.authority import Action, Authority
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.details import details_of
from virtlayer.service.bus.domain_request import domain_request, with_secrets
from virtlayer.service.bus.image import ImageObjects
from virtlayer.service.bus.job_starter import JobStarter
from virtlayer.service.bus.members import Interface, method, signal
from virtlayer.service.bus.options.machines import (
    CreateDomainOptions,
    RemoveDomainOptions,
    StopDomainOptions,
)
from virtlayer.service.bus.options.parsing import NoOptions, parse_options
from virtlayer.service.bus.pull_request import pull_action
from virtlayer.service.bus.replacing import authorized_replacing
from virtlayer.service.bus.results import result_variants
from virtlayer.service.jobs.job import Job
from virtlayer.service.jobs.kind import Kind
from virtlayer.service.operations.default_pool import default_pool
from virtlayer.service.operations.machines.create_domain import create_domain
from virtlayer.service.operations.machines.describe_domain import describe_domain
from virtlayer.service.operations.machines.list_domains import list_domains
from virtlayer.service.operations.machines.new_domain import CreateDomainRequest
from virtlayer.service.operations.machines.remove_domain import RemoveDomainRequest, remove_domain
from virtlayer.service.operations.machines.start_domain import StartDomainRequest, start_domain
from virtlayer.service.operations.machines.stop_domain import StopDomainRequest, stop_domain
from virtlayer.service.operations.services import Services
from virtlayer.service.source.passed_descriptor import secrets_deadline


class Machines(Interface):
    """The part of the root object that creates and controls machines.

    Args:
        services: The parts that the operations use.
        authority: Authorizes calls.
        images: The objects of the images.
    """

    def __init__(self, services: Services, authority: Authority, images: ImageObjects) -> None:
        super().__init__()
        self._services = services
        self._authority = authority
        self._images = images
        self._jobs = JobStarter(services.jobs, authority)

    @method(
        "CreateDomain",
        takes={"pool": "s", "image": "s", "name": "s", "options": "a{sv}"},
        gives={"id": "u", "job": "o"},
    )
    async def create_domain(
        self, call: Call, pool: str, image: str, name: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that makes a machine of an image."""
        with contextlib.ExitStack() as belongings:
            given = parse_options(CreateDomainOptions, options, call, belongings)
            request = domain_request(
                given,
                image=image,
                # Before the authorization: rules can depend on the pool.
                pool=parse_pool_name(pool) if pool else await default_pool(self._services),
                name=name,
                session=self._services.session,
            )
            details = _details(given, request, name)
            await self._authority.authorize(call, Action.CREATE_DOMAIN, details)
            request = await self._authorized_pull(call, request, details)
            request = await with_secrets(request, given, secrets_deadline())
            return await self._jobs.start(
                call,
                Kind.CREATE_DOMAIN,
                lambda job: self._create(request, job),
                source=details.get("source", request.image),
                pool=request.pool,
                belongings=belongings,
            )

    @method("StartDomain", takes={"name": "s", "options": "a{sv}"}, gives={"id": "u", "job": "o"})
    async def start_domain(
        self, call: Call, name: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that starts a machine."""
        given = parse_options(NoOptions, options, call)
        request = StartDomainRequest(name=parse_domain_name(name))
        await self._authority.authorize(call, Action.MANAGE_DOMAIN, details_of(given, name=name))
        return await self._jobs.start(
            call,
            Kind.START_DOMAIN,
            lambda job: start_domain(self._services, request, job),
            source=name,
        )

    @method("StopDomain", takes={"name": "s", "options": "a{sv}"}, gives={"id": "u", "job": "o"})
    async def stop_domain(
        self, call: Call, name: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that stops a machine."""
        given = parse_options(StopDomainOptions, options, call)
        request = StopDomainRequest(name=parse_domain_name(name), timeout=given.timeout)
        await self._authority.authorize(call, Action.MANAGE_DOMAIN, details_of(given, name=name))
        return await self._jobs.start(
            call,
            Kind.STOP_DOMAIN,
            lambda job: stop_domain(self._services, request, job),
            source=name,
        )

    @method("RemoveDomain", takes={"name": "s", "options": "a{sv}"}, gives={"id": "u", "job": "o"})
    async def remove_domain(
        self, call: Call, name: str, options: Mapping[str, Variant]
    ) -> tuple[int, str]:
        """Start a job that removes a machine with its own volume."""
        given = parse_options(RemoveDomainOptions, options, call)
        request = RemoveDomainRequest(name=parse_domain_name(name), force=given.force)
        await self._authority.authorize(call, Action.REMOVE_DOMAIN, details_of(given, name=name))
        return await self._jobs.start(
            call,
            Kind.REMOVE_DOMAIN,
            lambda job: remove_domain(self._services, request, job),
            source=name,
        )

    @method("ListDomains", gives={"domains": "a(sssss)"})
    async def list_domains(self, _call: Call) -> list[tuple[str, str, str, str, str]]:
        """List the machines that virtlayer has made."""
        return [
            (one.name, one.uuid, str(one.state), one.pool, one.image)
            for one in await list_domains(self._services)
        ]

    @method("DescribeDomain", takes={"name": "s"}, gives={"description": "a{sv}"})
    async def describe_domain(self, call: Call, name: str) -> dict[str, Variant]:
        """Return the properties of a machine."""
        found = await describe_domain(self._services, parse_domain_name(name))
        viewer = await self._authority.viewer(call)
        pullers = await self._services.catalog.pullers.of_digest(found.pool, found.digest)
        if not await viewer.sees(pullers):
            found = dataclasses.replace(found, digest="", addresses=(), ports=())
        return result_variants(found)

    @signal("DomainChanged", name="s", state="s")
    def domain_changed(self, name: str, state: str) -> None:
        """Signal that a machine has another state."""

    async def _authorized_pull(
        self, call: Call, request: CreateDomainRequest, details: Mapping[str, str]
    ) -> CreateDomainRequest:
        """Authorize the pull of a request, if there is one."""
        pull = request.pull
        if pull is None:
            return request
        details = {**details, "name": request.image}
        await self._authority.authorize(call, pull_action(pull.source), details)
        replacing = await authorized_replacing(
            self._authority,
            self._services.catalog,
            call,
            details,
            source=str(pull.source),
            replace=False,
        )
        return dataclasses.replace(request, pull=dataclasses.replace(pull, replacing=replacing))

    async def _create(self, request: CreateDomainRequest, job: Job) -> object:
        try:
            return await create_domain(self._services, request, job)
        finally:
            if request.pull is not None:
                # Before the job's end is announced: its listeners can look at the image then.
                await self._images.refresh()


def _details(given: CreateDomainOptions, request: CreateDomainRequest, name: str) -> dict[str, str]:
    """Return the details for polkit: of variables the names only, because values are secrets."""
    variables = [one.partition("=")[0] for one in request.startup.environment]
    ports = (
        f"{f'[{port.address}]' if ':' in port.address else port.address}:"
        f"{port.host}:{port.guest}/{port.transport}"
        for port in request.network.ports
    )
    return details_of(
        given,
        pool=request.pool,
        image=request.image,
        name=name,
        **({} if request.pull is None else {"source": str(request.pull.source)}),
        **({"environment": ", ".join(variables)} if variables else {}),
        **({"publish": ", ".join(ports)} if request.network.ports else {}),
    )
