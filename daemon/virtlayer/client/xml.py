# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer xml``: asks for what there is to know of an image or volume, and prints a domain."""

import json
import os
import platform
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from virtlayer.client.bus.caller import Client
from virtlayer.client.domain import Guest, lxc_domain, qemu_domain
from virtlayer.client.kernels import Kernel, newest_kernel
from virtlayer.client.output import print_json
from virtlayer.client.startup import parse_startup
from virtlayer.errors import InvalidArgument, NotAuthorized
from virtlayer.protocol.customization import id_ranges
from virtlayer.protocol.names import DomainName, parse_domain_name

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


async def xml(client: Client, arguments: Namespace) -> None:
    """Print domain XML for an image or a volume."""
    guest = await _guest(client, arguments)
    if arguments.type == "lxc":
        if guest.disk:
            raise InvalidArgument(
                f'The volume "{guest.volume}" is the disk of a machine, not a container. '
                "Use --type qemu."
            )
        text = lxc_domain(guest)
        if not (guest.uid_map and guest.gid_map) and not arguments.privileged:
            raise InvalidArgument(
                f'The files of "{guest.volume}" have the owners that the image gives them, so root '
                "of the container would be root of this host. Pull the image as a directory with "
                "--format=dir --id-map=auto, or accept that with --privileged."
            )
    else:
        if guest.format == "dir":
            raise InvalidArgument(
                f'The volume "{guest.volume}" is a directory, which is no disk. Use --type lxc.'
            )
        boots_itself = guest.disk and arguments.kernel is None
        kernel = None if boots_itself else _kernel(arguments)
        text = qemu_domain(guest, kernel, kvm=arguments.kvm and _has_kvm(guest, arguments))
    if arguments.json:
        print_json({"xml": text})
    else:
        print(text)


async def _guest(client: Client, arguments: Namespace) -> Guest:
    name, pool = arguments.name, arguments.pool
    images = {image.name: image for image in await client.list_images(pool)}
    config = ""
    volume = name
    if name in images:
        path = images[name].path
        volume = (await client.image(path))["Volume"]
        config = await client.image_config(path)
    found = await client.describe_volume(pool, volume)
    config = config or found["config"]
    if found["image"] and not config:
        raise NotAuthorized(
            f'The configuration of the image "{found["image"]}" is only shown to users who pulled '
            "it and to managers. Pull it yourself, or ask for a polkit rule that allows "
            "org.virtlayer1.read-details."
        )
    disk = found.get("disk", False)
    return Guest(
        name=_domain_name(arguments.domain, name),
        pool=pool,
        volume=volume,
        path=Path(found["path"]),
        format=found["format"],
        disk=disk,
        writable=not found["layer"],
        architecture=_architecture(config),
        startup=parse_startup("" if disk else config),
        memory=arguments.memory,
        uid_map=id_ranges(found.get("uid-map", ())),
        gid_map=id_ranges(found.get("gid-map", ())),
    )


def _domain_name(given: str | None, image_or_volume: str) -> DomainName:
    # The default has no character that a domain cannot have.
    default = _NOT_IN_A_NAME.sub("-", Path(image_or_volume).stem)
    return parse_domain_name(default if given is None else given)


def _architecture(config: str) -> str:
    document: Any = json.loads(config) if config else {}
    return str(document.get("architecture", "")) if isinstance(document, dict) else ""


def _kernel(arguments: Namespace) -> Kernel:
    if arguments.kernel is None:
        found = newest_kernel()
        return Kernel(found.image, _given(arguments.initrd) or found.initrd)
    kernel = _given(arguments.kernel)
    assert kernel is not None
    return Kernel(kernel, _given(arguments.initrd))


def _given(path: Path | None) -> Path | None:
    """An absolute path, because libvirtd works elsewhere.

    Raises:
        InvalidArgument: There is no such file.
    """
    if path is None:
        return None
    if not path.exists():
        raise InvalidArgument(f"There is no file {path}.")
    return path.absolute()


def _has_kvm(guest: Guest, arguments: Namespace) -> bool:
    native = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    # A session's machine runs as the caller; the system's as somebody whom libvirt lets use it.
    wanted = os.R_OK | os.W_OK if arguments.session else os.F_OK
    return guest.architecture in {"", native} and os.access("/dev/kvm", wanted)
