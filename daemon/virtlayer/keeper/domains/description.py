# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what a domain of ours is out of libvirt's description of it."""

from dataclasses import dataclass
from xml.etree import ElementTree

from virtlayer.keeper.binding import libvirt
from virtlayer.keeper.domains.metadata import Metadata, parse_metadata
from virtlayer.protocol.domains import DomainType, KnownDomain, PublishedPort, State, Transport
from virtlayer.sizes import KIB

type _Element = ElementTree.Element


@dataclass(frozen=True, slots=True)
class Found:
    """A domain of ours as libvirt describes it.

    Attributes:
        root: Its description: the live one if it runs.
        metadata: Our metadata in it.
    """

    root: _Element
    metadata: Metadata


def parse_domain(text: str) -> Found | None:
    """Read a description; None if virtlayer has not made the domain."""
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    metadata = parse_metadata(root)
    return None if metadata is None else Found(root, metadata)


def known_domain(
    found: Found,
    state: State,
    *,
    is_persistent: bool,
    autostart: bool,
    addresses: tuple[str, ...] = (),
) -> KnownDomain:
    """Return a domain of ours as the service gets it.

    Args:
        found: The domain.
        state: Its state.
        is_persistent: Whether it stays when it stops.
        autostart: Whether libvirt starts it with the host.
        addresses: Its IP addresses.
    """
    root, metadata = found.root, found.metadata
    return KnownDomain(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        state=state,
        pool=metadata.pool,
        image=metadata.image,
        digest=metadata.digest,
        disk=metadata.volume if _names(root, metadata.volume) else "",
        type=DomainType(root.get("type", "")),
        boot=metadata.boot,
        has_streams=metadata.has_streams,
        ephemeral=found.metadata.is_ephemeral or not is_persistent,
        autostart=autostart,
        # Without a unit, libvirt means KiB.
        memory=int(root.findtext("memory", "0")) * KIB,
        processors=int(root.findtext("vcpu", "1")),
        addresses=addresses,
        ports=tuple(_ports(root)),
    )


def state_of(number: int, reason: int, metadata: Metadata, *, is_persistent: bool) -> State:
    """Return the state for libvirt's numbers (virDomainState and the reasons of each).

    Args:
        number: The state.
        reason: Its reason.
        metadata: Our metadata of the domain.
        is_persistent: Whether it stays when it stops.
    """
    never_started = metadata.is_ephemeral and not metadata.was_resumed
    if number in (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PMSUSPENDED):
        return State.CREATED if never_started else State.PAUSED
    if number == libvirt.VIR_DOMAIN_SHUTOFF and metadata.is_ephemeral and is_persistent:
        # An ephemeral container is persistent until it is started.
        return State.CREATED
    if number == libvirt.VIR_DOMAIN_SHUTDOWN:
        return State.STOPPING
    if number == libvirt.VIR_DOMAIN_SHUTOFF:
        crashed = reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED
        return State.CRASHED if crashed else State.STOPPED
    return State.CRASHED if number == libvirt.VIR_DOMAIN_CRASHED else State.RUNNING


def _names(root: _Element, volume: str) -> bool:
    """Whether a disk, or an image that it is an overlay of, is a volume of this name."""
    return bool(volume) and any(_source_name(one) == volume for one in root.iter("source"))


def _source_name(source: _Element) -> str:
    """The name of the file, directory or RBD image that a device has; "" for anything else."""
    path = source.get("file") or source.get("dir") or ""
    if source.get("protocol") == "rbd":
        path = source.get("name") or ""
    return path.rpartition("/")[2]


def _ports(root: _Element) -> list[PublishedPort]:
    found = []
    for forward in root.iterfind("devices/interface/portForward"):
        for one in forward.iterfind("range"):
            start, to = one.get("start", "0"), one.get("to")
            found.append(
                PublishedPort(
                    address=forward.get("address", ""),
                    host=int(start),
                    guest=int(to or start),
                    transport=Transport(forward.get("proto", "tcp")),
                )
            )
    return found
