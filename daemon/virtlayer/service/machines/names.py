# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names of machines and of their volumes."""

import contextlib
import itertools
import re
from collections.abc import Collection, Iterator

from virtlayer.protocol.names import DomainName, VolumeName, parse_domain_name, parse_volume_name
from virtlayer.protocol.pools import Pool

_SUFFIX = ".qcow2"
"""Of the volumes of machines that are files."""
_UNSUITABLE = re.compile(r"[^a-z0-9]+")
_LENGTH = 40
_UNNAMED = "machine"


class DomainNames:
    """Chooses names for machines; two jobs of this process never choose the same one."""

    def __init__(self) -> None:
        self._chosen: set[str] = set()

    @contextlib.contextmanager
    def chosen(self, image: str, taken: Collection[str]) -> Iterator[DomainName]:
        """Choose a name after an image, and keep it from other jobs in this context.

        Args:
            image: The name of the image.
            taken: Names that cannot be used.
        """
        base = _base(image)
        names = (parse_domain_name(f"{base}-{number}") for number in itertools.count(1))
        name = next(name for name in names if name not in self._chosen and name not in taken)
        self._chosen.add(name)
        try:
            yield name
        finally:
            self._chosen.discard(name)


def volume_of(pool: Pool, domain: DomainName) -> VolumeName:
    """Return the name of the volume of a machine.

    Args:
        pool: The pool of the volume.
        domain: The name of the machine.

    Raises:
        InvalidArgument: It would be too long.
    """
    return parse_volume_name(domain if pool.is_rbd else f"{domain}{_SUFFIX}")


def _base(image: str) -> str:
    """Return what the name of a machine begins with, which can be a host name."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return _UNSUITABLE.sub("-", name.lower()).strip("-")[:_LENGTH].strip("-") or _UNNAMED
