# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer xml``: prints the domain of a volume, or of a new volume on an image.

No domain gets a layer as its disk: ``virsh undefine --remove-all-storage`` deletes the disks that a
domain names, and a layer belongs to every image and volume that is backed by it.
"""

import json
import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtlayer.client.architectures import emulator
from virtlayer.client.bus.answers import ImageSummary
from virtlayer.client.bus.caller import Client
from virtlayer.client.domain import Disk, Domain, Guest, RbdDisk, lxc_domain, qemu_domain
from virtlayer.client.host import HostFacts
from virtlayer.client.kernels import Kernel, no_kernel
from virtlayer.client.output import print_json, print_warning, print_xml
from virtlayer.client.startup import parse_startup
from virtlayer.client.waiting import finished, started
from virtlayer.errors import ImageNotFound, InvalidArgument, NotAuthorized
from virtlayer.protocol.customization import id_ranges
from virtlayer.protocol.names import DomainName, parse_domain_name

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class _Root:
    """A domain's root file system.

    Attributes:
        guest: The settings that are known before its volume exists.
        disk: The volume; None if it is created at the end, when nothing else can fail.
    """

    guest: Guest
    disk: Disk | RbdDisk | None


async def xml(client: Client, arguments: Namespace) -> None:
    """Print domain XML for a volume, or for a new volume on an image."""
    given = _given_files(arguments)
    root = await _root(client, arguments)
    facts = await client.host.facts(given)
    _check_existing(given, facts)
    domain = _domain(root.guest, arguments, facts)
    warnings = _warnings(root.guest, arguments.type, facts)
    disk = root.disk or await _created(client, arguments)
    text = domain.with_disk(disk)
    if arguments.json:
        print_json({"xml": text, "warnings": warnings})
        return
    for warning in warnings:
        print_warning(warning)
    print_xml(text)


async def _root(client: Client, arguments: Namespace) -> _Root:
    images = {image.name: image for image in await client.list_images(arguments.pool)}
    image = images.get(arguments.name)
    if arguments.volume is not None:
        if image is None:
            raise ImageNotFound(
                f'The pool "{arguments.pool}" has no image "{arguments.name}", which --volume '
                'requires. See "virtlayer images".'
            )
        return await _root_on_image(client, arguments, image)
    if image is not None:
        raise InvalidArgument(
            f'"{image.name}" is an image. Its layers are shared and read-only, so a domain needs '
            f"a volume of its own: create one with --volume NAME, or name a volume that exists."
        )
    return await _root_of_volume(client, arguments)


async def _root_on_image(client: Client, arguments: Namespace, image: ImageSummary) -> _Root:
    config = _readable(image.name, await client.image_config(image.path))
    return _Root(
        Guest(
            name=_domain_name(arguments.domain, arguments.volume),
            volume=arguments.volume,
            architecture=_architecture(config),
            startup=parse_startup(config),
            memory=arguments.memory,
        ),
        disk=None,
    )


async def _root_of_volume(client: Client, arguments: Namespace) -> _Root:
    name = arguments.name
    found = await client.describe_volume(arguments.pool, name)
    if found["layer"]:
        raise InvalidArgument(
            f'"{name}" is a layer, which images and volumes share. Create a volume on the image '
            'with "virtlayer create-volume", and name that.'
        )
    config = _readable(found["image"], found["config"])
    is_whole_disk = found.get("disk", False)
    return _Root(
        Guest(
            name=_domain_name(arguments.domain, name),
            volume=name,
            is_directory=found["format"] == "dir",
            is_whole_disk=is_whole_disk,
            architecture=_architecture(config),
            startup=parse_startup("" if is_whole_disk else config),
            memory=arguments.memory,
            uid_map=id_ranges(found.get("uid_map", ())),
            gid_map=id_ranges(found.get("gid_map", ())),
        ),
        _disk(found),
    )


async def _created(client: Client, arguments: Namespace) -> Disk | RbdDisk:
    """Create a volume on the image, and wait for it."""
    start = client.start(
        *("CreateVolume", "sssa{sv}", arguments.pool, arguments.name, arguments.volume)
    )
    await finished(client, await started(client, start), as_json=arguments.json)
    return _disk(await client.describe_volume(arguments.pool, arguments.volume))


def _disk(found: Mapping[str, Any]) -> Disk | RbdDisk:
    """Return what DescribeVolume says about a volume as a disk."""
    if "monitors" in found:
        return RbdDisk(
            found["path"],
            tuple(found["monitors"]),
            found["user"],
            found["secret"],
            found["secret_usage"],
        )
    path = Path(found["path"])
    if not path.is_absolute():
        raise NotAuthorized(
            f'How the RBD image "{path}" is reached is only shown to users who pulled its image '
            "and to managers. Pull it yourself, or ask for a polkit rule that allows "
            "org.virtlayer1.read-details."
        )
    return Disk(path, found["format"])


def _readable(image: str, config: str) -> str:
    if image and not config:
        raise NotAuthorized(
            f'The configuration of the image "{image}" is only shown to users who pulled '
            "it and to managers. Pull it yourself, or ask for a polkit rule that allows "
            "org.virtlayer1.read-details."
        )
    return config


def _domain(guest: Guest, arguments: Namespace, facts: HostFacts) -> Domain:
    """Return the domain without its disk."""
    if arguments.type == "lxc":
        _check_container(guest, privileged=arguments.privileged)
        return lxc_domain(guest)
    if guest.is_directory:
        raise InvalidArgument(
            f'The volume "{guest.volume}" is a directory, not a disk. Use --type lxc.'
        )
    boots_itself = guest.is_whole_disk and arguments.kernel is None
    kernel = None if boots_itself else _kernel(guest, arguments, facts)
    has_kvm = facts.has_kvm and not _is_foreign(guest, facts)
    return qemu_domain(guest, kernel, kvm=arguments.kvm and has_kvm)


def _check_container(guest: Guest, *, privileged: bool) -> None:
    if guest.is_whole_disk:
        raise InvalidArgument(
            f'The volume "{guest.volume}" is the disk of a machine, not a container. '
            "Use --type qemu."
        )
    if not (guest.uid_map and guest.gid_map) and not privileged:
        raise InvalidArgument(
            f'The files of "{guest.volume}" have the owners that the image gives them, so root of '
            "the container would be root of this host. Pull the image as a directory with "
            "--format=dir --id-map=auto, or accept that with --privileged."
        )


def _domain_name(given: str | None, volume: str) -> DomainName:
    # The default has no character that a domain cannot have.
    default = _NOT_IN_A_NAME.sub("-", Path(volume).stem)
    return parse_domain_name(default if given is None else given)


def _architecture(config: str) -> str:
    document: Any = json.loads(config) if config else {}
    return str(document.get("architecture", "")) if isinstance(document, dict) else ""


def _kernel(guest: Guest, arguments: Namespace, facts: HostFacts) -> Kernel:
    initrd = _absolute(arguments.initrd)
    if kernel := _absolute(arguments.kernel):
        return Kernel(kernel, initrd)
    if _is_foreign(guest, facts):
        raise InvalidArgument(
            f"The image is for {guest.architecture}, and the kernels of the host are for "
            f"{facts.architecture}. Specify --kernel and --initrd for {guest.architecture}."
        )
    if facts.kernel is None:
        raise no_kernel()
    return Kernel(facts.kernel.image, initrd or facts.kernel.initrd)


def _given_files(arguments: Namespace) -> list[Path]:
    """Return absolute paths, because libvirtd has another working directory.

    Raises:
        InvalidArgument: A path on another host is not absolute.
    """
    given = [path for path in (arguments.kernel, arguments.initrd) if path is not None]
    for path in given:
        if arguments.host is not None and not path.is_absolute():
            raise InvalidArgument(
                f"{path} is a file of {arguments.host.host}. Name its absolute path."
            )
    return [path.absolute() for path in given]


def _check_existing(files: Iterable[Path], facts: HostFacts) -> None:
    for path in files:
        if path not in facts.existing:
            raise InvalidArgument(f"No file {path}.")


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _warnings(guest: Guest, kind: str, facts: HostFacts) -> list[str]:
    found = []
    if _is_foreign(guest, facts):
        needed = (
            "the emulator of the kernel's binfmt_misc"
            if kind == "lxc"
            else emulator(guest.architecture)
        )
        found.append(
            f"The image is for {guest.architecture}, and the host is {facts.architecture}. "
            f"The domain needs {needed}, which is slow."
        )
    if kind == "qemu" and not guest.is_whole_disk and not guest.startup.is_init:
        found.append(
            f'The image starts "{guest.startup.command[0]}" and no init. The machine has no '
            "network, host name or login, and is switched off when that program ends. For a whole "
            "system, use an image with an init such as systemd."
        )
    return found


def _is_foreign(guest: Guest, facts: HostFacts) -> bool:
    return guest.architecture not in {"", facts.architecture}
