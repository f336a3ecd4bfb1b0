# SPDX-License-Identifier: LGPL-2.1-or-later
"""One method call: who calls, what for, and the descriptors that came with it."""

from dbus_next.constants import MessageFlag
from dbus_next.message import Message

from virtlayer.dbus.names import STANDARD_ERROR_PREFIX
from virtlayer.dbus.wire import close_descriptors
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


class Call:
    """A call that is being served. It owns the descriptors that nobody has taken yet."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self._descriptors: list[int | None] = list(message.unix_fds)

    @property
    def sender(self) -> str:
        """The unique name of the caller."""
        return self.message.sender or ""

    @property
    def interactive(self) -> bool:
        """Whether the caller allows that a person is asked (ALLOW_INTERACTIVE_AUTHORIZATION)."""
        return bool(self.message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)

    def take_descriptor(self, index: int) -> int:
        """Return a descriptor by its place in the message; it is the taker's to close.

        Raises:
            InvalidArgument: The message has no such descriptor, or it was taken.
        """
        descriptor = self._descriptors[index] if index < len(self._descriptors) else None
        if descriptor is None:
            raise InvalidArgument(
                f"Descriptor {index} did not come with the call, or is named twice in it."
            )
        self._descriptors[index] = None
        return descriptor

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        close_descriptors(descriptor for descriptor in self._descriptors if descriptor is not None)
        self._descriptors.clear()
