# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decides who may see private properties: only the owners of an object and managers.

A value that a caller may not see is left out of replies about several properties, as the D-Bus
Specification allows ("org.freedesktop.DBus.Properties", GetAll). All users get the signals.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from virtlayer.errors import NotAuthorized
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.members import Interface


class Viewer(Protocol):
    """The user who makes a call, and the private values that this user may see."""

    async def sees(self, owners: Collection[int]) -> bool:
        """Return whether the user may see values for these owners and managers."""


class OrdinaryUser:
    """A viewer who sees the user's own values; a manager sees all values.

    Args:
        uid: The user.
        is_manager: Tells whether the user is a manager; called at most once, for values of others.
    """

    def __init__(self, uid: int, is_manager: Callable[[], Awaitable[bool]]) -> None:
        self._uid = uid
        self._ask = is_manager
        self._is_manager: bool | None = None

    async def sees(self, owners: Collection[int]) -> bool:
        """Return whether the user is one of the owners, or a manager."""
        if self._uid in owners:
            return True
        if self._is_manager is None:
            self._is_manager = await self._ask()
        return self._is_manager


class SeesAll:
    """A viewer who sees everything."""

    async def sees(self, _owners: Collection[int]) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True, slots=True)
class Visibility:
    """The visibility of the objects on one bus.

    Attributes:
        viewer: Returns the viewer of a call.
        signals_are_private: Whether only the service's own user gets signals.
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
