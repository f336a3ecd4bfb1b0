# SPDX-License-Identifier: LGPL-2.1-or-later
"""The metadata of a domain that virtlayer has made; other domains have none.

::

    <virtlayer:machine xmlns:virtlayer="http://virtlayer.org/xmlns/libvirt/domain/1.0"
                       image="debian:13" digest="sha256:..." pool="UUID" volume="web.qcow2"
                       boot="own-initrd" streams="yes" ephemeral="no" resumed="no"/>

An administrator can change it; a guest cannot. The second element is for programs that use
libosinfo, such as virt-manager.
"""

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from virtlayer.protocol.domains import Boot

NAMESPACE = "http://virtlayer.org/xmlns/libvirt/domain/1.0"
PREFIX = "virtlayer"
_LIBOSINFO = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
_MACHINE = f"{{{NAMESPACE}}}machine"

register_namespace(PREFIX, NAMESPACE)
register_namespace("libosinfo", _LIBOSINFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the metadata of a domain says.

    Attributes:
        image: The name of its image.
        digest: The digest of its image.
        pool: The UUID of the pool of its volumes.
        volume: The name of its volume there.
        boot: How it boots.
        has_streams: Whether it has our init's two ports.
        is_ephemeral: Whether it disappears when it stops.
        was_resumed: Whether an ephemeral machine, which is created paused, was started by us.
    """

    image: str
    digest: str
    pool: str
    volume: str
    boot: Boot
    has_streams: bool
    is_ephemeral: bool
    was_resumed: bool = False

    def element(self, tag: str = _MACHINE) -> Element:
        """Return it as XML; libvirt itself adds the namespace to metadata that is changed."""
        return Element(
            tag,
            image=self.image,
            digest=self.digest,
            pool=self.pool,
            volume=self.volume,
            boot=self.boot,
            streams=_word(self.has_streams),
            ephemeral=_word(self.is_ephemeral),
            resumed=_word(self.was_resumed),
        )

    def text(self) -> str:
        """Return the element, without a namespace, as text."""
        return tostring(self.element("machine"), encoding="unicode")


def operating_system(os_id: str) -> Element:
    """The metadata that names an operating system by its libosinfo id."""
    element = Element(f"{{{_LIBOSINFO}}}libosinfo")
    SubElement(element, f"{{{_LIBOSINFO}}}os", id=os_id)
    return element


def parse_metadata(domain: Element) -> Metadata | None:
    """Read the metadata in the description of a domain; None if virtlayer has not made it."""
    element = domain.find(f"metadata/{_MACHINE}")
    if element is None:
        return None
    try:
        boot = Boot(element.get("boot", ""))
    except ValueError:
        return None
    return Metadata(
        image=element.get("image", ""),
        digest=element.get("digest", ""),
        pool=element.get("pool", ""),
        volume=element.get("volume", ""),
        boot=boot,
        has_streams=element.get("streams") == "yes",
        is_ephemeral=element.get("ephemeral") == "yes",
        was_resumed=element.get("resumed") == "yes",
    )


def _word(is_so: bool) -> str:
    return "yes" if is_so else "no"
