# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel's command line that starts what an image wants.

The kernel starts one program, as root, in ``/`` (Documentation/admin-guide/kernel-parameters.rst,
``init=``); what follows ``--`` are its arguments. For anything else the image's shell is started,
and goes on from there; when that ends, the machine is switched off.

A double quote can only stand around a whole argument there, so none may be inside.
"""

from virtlayer.client.startup import Startup
from virtlayer.errors import InvalidArgument

LIMIT = 2047
"""The longest command line of x86's kernels, in bytes."""

_MOUNTS = (
    "mount -t proc proc /proc",
    "mount -t sysfs sysfs /sys",
    "mount -t devtmpfs devtmpfs /dev",
)


def kernel_command_line(startup: Startup, *, console: str, writable: bool) -> str:
    """The command line.

    Args:
        startup: What to start.
        console: The kernel's name of the serial line, such as ttyS0.
        writable: Whether the root file system is mounted for writing.

    Raises:
        InvalidArgument: It cannot be said on a command line.
    """
    words = [f"console={console}", "root=/dev/vda", "rw" if writable else "ro"]
    if startup.is_init:
        words += [_word(f"{name}={value}") for name, value in startup.environment]
        arguments = [_word(argument) for argument in startup.command[1:]]
        words += [f"init={startup.command[0]}", *(["--", *arguments] if arguments else [])]
    else:
        words += ["panic=-1", "init=/bin/sh", "--", "-c", _word(_script(startup))]
    line = " ".join(words)
    if len(line.encode()) > LIMIT:
        raise InvalidArgument(
            f"What this image starts makes a kernel command line of {len(line.encode())} bytes; "
            f"{LIMIT} are possible. Put it into a script in the image."
        )
    return line


def _script(startup: Startup) -> str:
    quiet = [f"{mount} 2>/dev/null" for mount in _MOUNTS]
    exports = [f"export {name}={_quoted(value)}" for name, value in startup.environment]
    command = " ".join(_quoted(word) for word in startup.command)
    steps = [*quiet, *exports, f"cd {_quoted(startup.directory)}", _as_user(startup, command)]
    return "; ".join([*steps, "echo o >/proc/sysrq-trigger", "sleep 9"])


def _as_user(startup: Startup, command: str) -> str:
    user, group = startup.user, startup.group
    if not user:
        return command
    if not group and not user.isdecimal():
        return f"su -s /bin/sh {_quoted(user)} -c {_quoted(command)}"
    groups = "--clear-groups" if user.isdecimal() else "--init-groups"
    return f"setpriv --reuid={_quoted(user)} --regid={_quoted(group or user)} {groups} -- {command}"


def _quoted(text: str) -> str:
    """A word for the shell, without a double quote in it."""
    inner = text.replace("'", r"'\''").replace('"', r"'$(printf '\042')'")
    return f"'{inner}'"


def _word(text: str) -> str:
    """A word for the kernel."""
    if '"' in text or "\n" in text:
        raise InvalidArgument(
            f"“{text}” has a double quote or a line break, which no kernel command line can have. "
            "Put it into a script in the image."
        )
    return f'"{text}"' if not text or any(character.isspace() for character in text) else text
