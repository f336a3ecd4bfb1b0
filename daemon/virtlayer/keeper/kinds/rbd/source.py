# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the images of an RBD pool are, as libvirt's description of the pool says.

The format is libvirt's storage pool XML (https://libvirt.org/storage.html "RBD pool").
"""

from collections.abc import Collection
from dataclasses import dataclass
from xml.etree import ElementTree

from virtlayer.errors import Libvirt, PoolUnsupported
from virtlayer.protocol.rbd import Monitor


@dataclass(frozen=True, slots=True)
class SecretReference:
    """The secret of libvirt that has the key of a cephx user: by its UUID or by its usage.

    Attributes:
        uuid: Its UUID; "" if it is named by its usage.
        usage: What it is for; "" if it is named by its UUID.
    """

    uuid: str
    usage: str


@dataclass(frozen=True, slots=True)
class RbdSource:
    """The pool of a Ceph cluster that a pool of libvirt stands for.

    Attributes:
        pool: Its name in the cluster.
        monitors: The monitors; empty for those of the host's ceph.conf.
        user: The cephx user without ``client.``; None if the cluster uses no cephx.
        secret: The secret with the user's key; None if there is no user.
    """

    pool: str
    monitors: tuple[Monitor, ...]
    user: str | None
    secret: SecretReference | None

    def has_one_of(self, monitors: tuple[Monitor, ...]) -> bool:
        """Whether one of these monitors is among those of the pool."""
        ours, theirs = ({one.host.lower() for one in some} for some in (self.monitors, monitors))
        return not ours.isdisjoint(theirs)

    def may_be(
        self, pool: str, monitors: tuple[Monitor, ...], elsewhere: "Collection[RbdSource]"
    ) -> bool:
        """Whether a pool of that name, at those monitors, may be the same one.

        A cluster has several monitors, and each can have several names. Without monitors, the
        host's ceph.conf decides, which is not read here. So it is another one only if that is
        certain.

        Args:
            pool: The name of the pool in its cluster.
            monitors: The monitors of that cluster.
            elsewhere: Pools of clusters that are known to be other ones.
        """
        if pool != self.pool:
            return False
        return self.has_one_of(monitors) or not any(one.has_one_of(monitors) for one in elsewhere)


def parse_source(text: str) -> RbdSource:
    """Read the description of a pool of type rbd.

    Raises:
        PoolUnsupported: It names a user without a secret.
        Libvirt: It is not one of an RBD pool.
    """
    root = ElementTree.fromstring(text)  # noqa: S314 -- libvirt wrote it
    name = root.findtext("name") or ""
    pool = root.findtext("source/name")
    if not pool:
        raise Libvirt(f'The description of the pool "{name}" by libvirt has no source/name.')
    auth = root.find("source/auth")
    if auth is None:
        return RbdSource(pool, parse_monitors(root.find("source")), None, None)
    secret = auth.find("secret")
    user = auth.get("username")
    if not user or secret is None:
        raise PoolUnsupported(
            f'The description of the pool "{name}" has an <auth> element without a user name or a '
            "secret. Add both to it."
        )
    reference = SecretReference(secret.get("uuid") or "", secret.get("usage") or "")
    return RbdSource(pool, parse_monitors(root.find("source")), user, reference)


def parse_monitors(source: ElementTree.Element | None) -> tuple[Monitor, ...]:
    """Read the hosts in the source of a pool or of a disk."""
    hosts = [] if source is None else source.findall("host")
    return tuple(
        Monitor(name.strip("[]"), int(host.get("port") or 0) or None)
        for host in hosts
        if (name := host.get("name"))
    )
