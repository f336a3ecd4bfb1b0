# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may see what: some properties of an object are for its owners and for managers only.

A value that a caller may not see is left out of answers about several properties, as the D-Bus
Specification has it ("org.freedesktop.DBus.Properties", GetAll). Signals go to everybody.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from virtlayer.errors import NotAuthorized
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.members import Interface


class Viewer(Protocol):
    """The user who asks in one call."""

    async def sees(self, owners: Collection[int]) -> bool:
        """Whether the user may see what belongs to these users and to managers."""


class OrdinaryUser:
    """A viewer who sees what is the own, and if a manager, the rest.

    Args:
        uid: The user.
        is_manager: Decides that; asked once at most, and only if something belongs to others.
    """

    def __init__(self, uid: int, is_manager: Callable[[], Awaitable[bool]]) -> None:
        self._uid = uid
        self._ask = is_manager
        self._is_manager: bool | None = None

    async def sees(self, owners: Collection[int]) -> bool:
        """Whether the user is one of them, or a manager."""
        if self._uid in owners:
            return True
        if self._is_manager is None:
            self._is_manager = await self._ask()
        return self._is_manager


class SeesAll:
    """A viewer from whom nothing is hidden."""

    async def sees(self, _owners: Collection[int]) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True, slots=True)
class Visibility:
    """What of the objects on one bus can be seen.

    Attributes:
        viewer: Returns who asks in a call.
        signals_are_private: Whether nobody but the service's own user gets signals.
    """

    viewer: Callable[[Call], Awaitable[Viewer]]
    signals_are_private: bool


async def check_visible(
    visibility: Visibility, call: Call, interface: Interface, member: str
) -> None:
    """Check that a caller may see a private member of an object.

    Raises:
        NotAuthorized: The caller is neither an owner of the object nor a manager.
    """
    viewer = await visibility.viewer(call)
    if not await viewer.sees(interface.owners):
        raise NotAuthorized(
            f"Permission denied: {member} is only shown to the owner of {call.message.path} and to "
            "managers: root, and users with the polkit action org.virtlayer1.read-details."
        )


async def _anybody(_call: Call) -> Viewer:
    return SeesAll()


NOTHING_HIDDEN = Visibility(_anybody, signals_are_private=True)
