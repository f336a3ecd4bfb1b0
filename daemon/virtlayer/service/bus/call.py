# SPDX-License-Identifier: LGPL-2.1-or-later
"""One method call: its caller, its message, and the descriptors that came with it."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

from dbus_next.constants import MessageFlag
from dbus_next.message import Message

from virtlayer.dbus.names import STANDARD_ERROR_PREFIX
from virtlayer.dbus.received import close_received
from virtlayer.errors import InvalidArgument


class StandardError(Exception):
    """An error that the D-Bus specification names.

    Args:
        name: The last part of its name.
        text: What is wrong.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = STANDARD_ERROR_PREFIX + name
        self.text = text


@dataclass(frozen=True, slots=True)
class ReplyDescriptor:
    """The result of a method that gives a descriptor; it is closed when it was sent.

    Attributes:
        number: The descriptor.
    """

    number: int


class Lease(Protocol):
    """The usage of the quotas of the caller by a call."""

    def move(self, holder: int) -> None:
        """Count it for this user.

        Raises:
            Busy: The user has reached a quota.
        """

    def descriptors_closed(self, number: int) -> None:
        """Return this number of descriptors to the quota."""

    def call_ended(self) -> None:
        """Return the call to the quota."""


class Call:
    """A call that is being served. It owns the descriptors that were not taken out of it."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.lease: Lease | None = None
        """Ended with the call; None if nothing is counted."""
        self._descriptors: list[int | None] = list(message.unix_fds)
        self._lent: set[int] = set()

    @property
    def sender(self) -> str:
        """The unique name of the caller."""
        return self.message.sender or ""

    @property
    def wants_reply(self) -> bool:
        """Whether the caller waits for an answer."""
        return not self.message.flags & MessageFlag.NO_REPLY_EXPECTED

    @property
    def interactive(self) -> bool:
        """Whether the caller allows a prompt (ALLOW_INTERACTIVE_AUTHORIZATION)."""
        return bool(self.message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)

    @property
    def open_descriptors(self) -> int:
        """The number of descriptors that came with it and were not taken."""
        return sum(descriptor is not None for descriptor in self._descriptors)

    def lend_descriptor(self, index: int) -> int:
        """Return a descriptor by its place in the message; it is closed with the call.

        Args:
            index: The place.

        Raises:
            InvalidArgument: The message has no such descriptor, or it was lent or taken.
        """
        descriptor = self._descriptors[index] if index < len(self._descriptors) else None
        if descriptor is None or descriptor in self._lent:
            raise InvalidArgument(
                f"Descriptor {index} is missing from the call, or is used twice in it."
            )
        self._lent.add(descriptor)
        return descriptor

    def take_descriptor(self, index: int, belongings: contextlib.ExitStack) -> int:
        """Return a descriptor by its place in the message, for longer than the call lasts.

        Args:
            index: The place.
            belongings: Owns the descriptor from now on, and closes it.

        Raises:
            InvalidArgument: The message has no such descriptor, or it was lent or taken.
        """
        descriptor = self.lend_descriptor(index)
        self._lent.discard(descriptor)
        self._descriptors[index] = None
        belongings.callback(self._close, [descriptor])
        return descriptor

    def close(self) -> None:
        """Close the descriptors that were not taken, and release the quotas."""
        left = [descriptor for descriptor in self._descriptors if descriptor is not None]
        self._descriptors.clear()
        self._close(left)
        if self.lease is not None:
            self.lease.call_ended()

    def _close(self, descriptors: list[int]) -> None:
        """Close descriptors; they count in the quota until they are closed."""
        if self.lease is None:
            close_received(descriptors)
            return
        loop, closed = asyncio.get_running_loop(), self.lease.descriptors_closed
        close_received(descriptors, lambda number: loop.call_soon_threadsafe(closed, number))
