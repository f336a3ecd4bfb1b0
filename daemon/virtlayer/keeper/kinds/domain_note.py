# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a pool notes about a domain, before the domain's files are written there."""

from dataclasses import dataclass
from typing import Self

_CONTAINER = "container"


@dataclass(frozen=True, slots=True)
class DomainNote:
    """A note about a domain.

    Attributes:
        host: The id of its host.
        name: Its name.
        is_container: Whether libvirt-LXC runs it.
    """

    host: str
    name: str
    is_container: bool

    def text(self) -> str:
        """Return it as text."""
        return "\n".join((self.host, _CONTAINER if self.is_container else "", self.name))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read a note; anything else is one of no host.

        Another host of the pool may have written it, and the name is a part of a file name.
        """
        host, _, rest = text.partition("\n")
        kind, _, name = rest.partition("\n")
        return cls("" if "/" in name else host, name, kind == _CONTAINER)
