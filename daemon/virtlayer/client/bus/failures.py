# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors that came over the bus, as errors of our tree."""

from virtlayer import errors
from virtlayer.errors import Internal, NoSuchJob, ServiceUnavailable, VirtlayerError

_DBUS = "org.freedesktop.DBus.Error"
_ERRORS = {kind.__name__: kind for kind in VirtlayerError.__subclasses__()}
_MEANING_OF_BUS_ERRORS: dict[str, type[VirtlayerError]] = {
    "AccessDenied": errors.NotAuthorized,
    "InteractiveAuthorizationRequired": errors.NotAuthorized,
    "InvalidArgs": errors.InvalidArgument,
    "Disconnected": ServiceUnavailable,
    "NameHasNoOwner": ServiceUnavailable,
    "NoReply": ServiceUnavailable,
    "ServiceUnknown": ServiceUnavailable,
    "TimedOut": ServiceUnavailable,
}


def remote_error(name: str, message: str) -> VirtlayerError:
    """The error of our tree that a D-Bus error, or a failed job, stands for.

    Args:
        name: The D-Bus error name, with or without ``org.virtlayer1.Error.``.
        message: Its text, for users.
    """
    domain, _, last = name.rpartition(".")
    if name == f"{_DBUS}.UnknownObject":
        # Only a job's path can be wrong: the root is there as long as the service is.
        return NoSuchJob('There is no such job; "virtlayer jobs" lists those there are.')
    if domain == f"{_DBUS}.Spawn":
        return ServiceUnavailable(message)
    if domain == _DBUS:
        return _MEANING_OF_BUS_ERRORS.get(last, Internal)(message)
    return _ERRORS.get(last, Internal)(message)
