# SPDX-License-Identifier: LGPL-2.1-or-later
"""Platforms, with the names that image indexes use (OCI image-index.md, "platform")."""

import os
import re
from dataclasses import dataclass

from virtlayer.errors import InvalidArgument

_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# uname(2) machine → Go's architecture and variant, which the specification prescribes.
_OF_MACHINE = {
    "x86_64": ("amd64", None),
    "amd64": ("amd64", None),
    "i386": ("386", None),
    "i486": ("386", None),
    "i586": ("386", None),
    "i686": ("386", None),
    "aarch64": ("arm64", None),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "loongarch64": ("loong64", None),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform of an image; ``str()`` returns ``os/architecture[/variant]``."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def is_foreign(self) -> bool:
        """Whether it is for another operating system or processor than this host's."""
        host = host_platform()
        return bool(self.os) and (self.os, self.architecture) != (host.os, host.architecture)

    def admits(self, other: "Platform") -> bool:
        """Whether ``other`` is this platform; a variant counts only where both name one."""
        return (self.os, self.architecture) == (other.os, other.architecture) and (
            not self.variant or not other.variant or self.variant == other.variant
        )


NO_PLATFORM = Platform("", "")
"""The platform of an artifact, which is not for any known platform."""


def host_platform() -> Platform:
    """Return the platform of this host."""
    machine = os.uname().machine
    architecture, variant = _OF_MACHINE.get(machine, (machine, None))
    return Platform("linux", architecture, variant)


def parse_platform(text: str) -> Platform:
    """Parse ``os/architecture[/variant]``, such as ``linux/arm64/v8``.

    Machine names of the kernel are understood as well (``linux/x86_64`` is ``linux/amd64``).

    Raises:
        InvalidArgument: The text is not a valid platform.
    """
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidArgument(
            f'Invalid platform "{text[:100]}". Use OS/ARCHITECTURE[/VARIANT], for example '
            "linux/arm64."
        )
    system, machine = parts[0].lower(), parts[1].lower()
    architecture, variant = _OF_MACHINE.get(machine, (machine, None))
    return Platform(system, architecture, parts[2].lower() if len(parts) == 3 else variant)
