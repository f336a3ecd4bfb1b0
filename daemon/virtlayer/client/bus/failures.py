# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts errors from the bus to virtlayer's classes of errors."""

import re

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
_JOB = re.compile(r"/job/([0-9]+)")
_OPTION = re.compile(r'\b(?:the )?option "([a-z-]+(?:=[^"]*)?)"', re.IGNORECASE)
"""The form in which messages of the service name an option of a call."""
_TYPED = {
    "auth-fd": "--authfile",
    "cache=false": "--no-cache",
    "command": "COMMAND",
    "cert-fds": "--cert-dir",
    "environment": "-e",
    "ephemeral": "--rm",
    "grow-filesystem": "--grow",
    "root-password-fd": "--root-password",
    "source-fd": "SOURCE",
    "ssh-authorized-keys": "--ssh-key",
    "user": "-u",
    "user-data-fd": "--user-data",
    "vcpus": "--cpus",
    "working-directory": "--workdir",
}
"""Options of a call that have another name on the command line."""


def as_typed(message: str) -> str:
    """Return a message of the service with options as they are typed on the command line.

    Args:
        message: The message; it names options like ``the option "tls-verify=false"``.
    """
    return _OPTION.sub(lambda match: _TYPED.get(match[1], f"--{match[1]}"), message)


def remote_error(name: str, message: str) -> VirtlayerError:
    """Return the error for a D-Bus error or a failed job.

    Args:
        name: The D-Bus error name, with or without ``org.virtlayer1.Error.``.
        message: Its text, for users; options in it get the names of the command line.
    """
    message = as_typed(message)
    domain, _, last = name.rpartition(".")
    if name == f"{_DBUS}.UnknownObject":
        # Only a job's path can be wrong: the root is there as long as the service is.
        job = _JOB.search(message)
        number = f" {job[1]}" if job else ""
        return NoSuchJob(f'No job{number}. See "virtlayer jobs".')
    if domain == f"{_DBUS}.Spawn":
        return ServiceUnavailable(message)
    if domain == _DBUS:
        return _MEANING_OF_BUS_ERRORS.get(last, Internal)(message)
    return _ERRORS.get(last, Internal)(message)
