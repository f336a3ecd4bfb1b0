# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists the disks of all domains, running or not, and of their snapshots.

The formats are libvirt's domain, snapshot and checkpoint XML
(https://libvirt.org/formatdomain.html "Hard drives, floppy disks, CDROMs" and "Filesystems",
https://libvirt.org/formatsnapshot.html, https://libvirt.org/formatcheckpoint.html).
A snapshot's XML contains the whole domain as it was, which a revert restores.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.connection import Connection, Hypervisor
from virtlayer.keeper.drivers import drivers

type _Domain = libvirt.virDomain
type _Point = libvirt.virDomainSnapshot | libvirt.virDomainCheckpoint

_GONE_OR_UNKNOWN = (
    "VIR_ERR_NO_DOMAIN",
    "VIR_ERR_NO_DOMAIN_SNAPSHOT",
    "VIR_ERR_NO_DOMAIN_CHECKPOINT",
    "VIR_ERR_NO_SUPPORT",
)
"""It was deleted meanwhile, or this kind of hypervisor does not support it."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file or volume that a domain has, or that is a part of a chain that it names.

    Attributes:
        user: The domain that has it, in words.
        path: The file; None if it is named as a volume.
        volume: Pool and volume; None if it is named as a file.
        format: What libvirt opens it as. If that is not given, it is "raw": libvirt never
            guesses.
    """

    user: str
    path: Path | None
    volume: tuple[str, str] | None
    format: str


async def all_disks(hypervisor: Hypervisor) -> frozenset[Disk]:
    """The disks of every domain of this connection.

    Raises:
        Libvirt: libvirt does not answer.
    """
    descriptions = await all_descriptions(hypervisor)
    return frozenset(disk for user, text in descriptions for disk in parse_disks(user, text))


async def all_descriptions(hypervisor: Hypervisor) -> list[tuple[str, str]]:
    """The XML of all machines and containers, and of their snapshots and checkpoints.

    Returns:
        Each after its name in words.
    """
    found: list[tuple[str, str]] = []
    for driver in await drivers(hypervisor):
        found += await driver.call(_descriptions_of_domains)
    return found


def parse_disks(user: str, text: str) -> Iterator[Disk]:
    """Read the disks out of the description of a domain, snapshot or checkpoint.

    The kernel and the initrd that it boots are read as disks, too: they can be volumes.
    """
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    for tag in ("kernel", "initrd"):
        for file in root.iter(tag):
            if file.text and file.text.startswith("/"):
                yield Disk(user, Path(file.text), None, "raw")
    for tag in ("disk", "filesystem"):
        for device in root.iter(tag):
            # A disk has a source, and so have the backing store, mirror or data file below it.
            for store in device.iter():
                for source in store.findall("source"):
                    yield from _disk(user, source, _format(store))


def _disk(user: str, source: ElementTree.Element, image_format: str) -> Iterator[Disk]:
    path = source.get("file") or source.get("dev")
    pool, volume = source.get("pool"), source.get("volume")
    if path:
        yield Disk(user, Path(path), None, image_format)
    elif pool and volume:
        yield Disk(user, None, (pool, volume), image_format)


def _format(store: ElementTree.Element) -> str:
    driver, inner = store.find("driver"), store.find("format")
    if inner is not None:
        return inner.get("type") or "raw"
    if driver is None:
        return "raw"
    # The type of a filesystem's driver is not a format.
    return driver.get("format" if store.tag == "filesystem" else "type") or "raw"


def _descriptions_of_domains(connection: Connection) -> list[tuple[str, str]]:
    """The XML of all domains, their snapshots and checkpoints, each after its name in words."""
    found: list[tuple[str, str]] = []
    for domain in _present(connection.listAllDomains):
        name = f'the domain "{domain.name()}"'
        found += [(name, text) for text in _present(partial(_domain_texts, domain))]
        for snapshot in _present(domain.listAllSnapshots):
            user = f'the snapshot "{snapshot.getName()}" of {name}'
            found += [(user, text) for text in _present(partial(_text_of, snapshot))]
        for checkpoint in _present(domain.listAllCheckpoints):
            user = f'the checkpoint "{checkpoint.getName()}" of {name}'
            found += [(user, text) for text in _present(partial(_text_of, checkpoint))]
    return found


def _text_of(point: _Point) -> list[str]:
    return [point.getXMLDesc()]


def _domain_texts(domain: _Domain) -> list[str]:
    texts = [domain.XMLDesc()]
    if domain.isActive() and domain.isPersistent():
        texts.append(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    if domain.isPersistent() and domain.hasManagedSaveImage():
        texts.append(domain.managedSaveGetXMLDesc())
    return texts


def _present[T](ask: Callable[[], list[T]]) -> list[T]:
    """Return what libvirt answers, or nothing if the object does not exist."""
    try:
        return ask()
    except libvirt.libvirtError as error:
        if error.get_error_code() in {getattr(libvirt, name) for name in _GONE_OR_UNKNOWN}:
            return []
        raise
