# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts a call of CreateDomain to a request to the operation."""

import dataclasses
from pathlib import Path

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.names import (
    DomainName,
    ImageName,
    PoolName,
    parse_domain_name,
    parse_image_name,
)
from virtlayer.service.bus.options.machines import CreateDomainOptions
from virtlayer.service.machines.seed import read_user_data
from virtlayer.service.operations.machines.new_domain import CreateDomainRequest
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.service.source.reference import has_transport, parse_reference

_SUFFIX = ".qcow2"
_UNNAMED = "machine"
"""Stands for the name that the operation will choose."""


def domain_request(
    given: CreateDomainOptions, *, image: str, pool: PoolName, name: str, session: bool
) -> CreateDomainRequest:
    """Return the request of a call.

    Args:
        given: The options.
        image: The name of an image of the pool, or a source with a transport.
        pool: The pool.
        name: The name of the domain; "" for one from the image.
        session: Whether the service runs as the caller.

    Raises:
        InvalidReference: The source is invalid.
        InvalidArgument: A name or an option is invalid, or options exclude each other.
    """
    pull = _pull(given, image, pool, session=session)
    if pull is None:
        given.check_no_access(image)
    domain = parse_domain_name(name) if name else None
    return CreateDomainRequest(
        pool=pool,
        image=parse_image_name(image) if pull is None else pull.image_name,
        pull=pull,
        pull_policy=given.pull_policy,
        name=domain,
        volume=given.new_volume(_volume_name(domain), given.volume_size),
        memory=given.memory,
        processors=given.vcpus,
        type=given.wanted_type,
        network=given.wanted_network,
        kernel=_kernel(given.kernel, session=session),
        kernel_version=given.kernel_version,
        startup=given.startup,
        start=given.start,
        autostart=given.autostart,
        ephemeral=given.ephemeral,
    )


async def with_secrets(
    request: CreateDomainRequest, given: CreateDomainOptions, deadline: float
) -> CreateDomainRequest:
    """Read the secrets of a request from their descriptors, while these are open.

    Args:
        request: The request.
        given: The options of the call.
        deadline: From ``secrets_deadline``.

    Raises:
        InvalidArgument: A descriptor does not give what it should.
    """
    pull = request.pull
    if pull is not None:
        pull = dataclasses.replace(pull, access=await pull.access.settled(deadline))
    user_data = None
    if given.user_data_fd is not None:
        user_data = await read_user_data(given.user_data_fd, deadline)
    return dataclasses.replace(
        request,
        pull=pull,
        volume=await request.volume.settled(deadline),
        user_data=user_data,
    )


def _pull(
    given: CreateDomainOptions, image: str, pool: PoolName, *, session: bool
) -> PullRequest | None:
    if not has_transport(image):
        return None
    source = parse_reference(image)
    given.check_paths(source, session=session)
    return PullRequest(
        source=source,
        pool=pool,
        name=source.short_name,
        platform=given.wanted_platform,
        access=given.access,
    )


def _volume_name(domain: DomainName | None) -> str:
    return f"{_UNNAMED if domain is None else domain}{_SUFFIX}"


def _kernel(text: str | None, *, session: bool) -> Path | ImageName | None:
    if text is None:
        return None
    if not text.startswith("/"):
        return parse_image_name(text)
    if not session:
        raise InvalidArgument(
            f'The option "kernel" cannot be a path ({text}) on the system bus, because virtlayerd '
            "does not have your rights. Name an image of the pool that has a kernel, or omit the "
            "option to use the kernel of the image or of the host."
        )
    return Path(text)
