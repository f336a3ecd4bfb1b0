# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a kernel command line that starts the command of an image.

The kernel starts one program, as root, in ``/`` (Documentation/admin-guide/kernel-parameters.rst,
``init=``); what follows ``--`` are its arguments. Anything but an init without arguments and
environment is started by the image's shell. Where that is not an init, the machine is switched off
when it ends.

The text of an image must not add a parameter. Not every reader of a command line follows the
kernel's rules for quotes and ``--``: initial file systems (initramfs-tools) and parts of the kernel
(x86's cmdline_find_option) only look for words between blanks. Therefore the text of an image is
one word, which begins with a quote: a script, as the argument of printf, with escapes for blanks
and for all characters except printable ASCII.
"""

import re
import shlex

from virtlayer.client.startup import Startup
from virtlayer.errors import InvalidArgument

LIMIT = 2047
"""The longest command line of x86's kernels, in bytes."""

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._+-]*")
_MOUNTS = (
    "mount -t proc proc /proc 2>/dev/null",
    "mount -t sysfs sysfs /sys 2>/dev/null",
    "mount -t devtmpfs devtmpfs /dev 2>/dev/null",
)
_POWER_OFF = ("sync", "echo o >/proc/sysrq-trigger", "sleep 9")
_LITERALLY = ("set -f", "IFS=")
"""The shell takes the output of printf literally: as one word, without patterns."""


def kernel_command_line(startup: Startup, *, console: str) -> str:
    """The command line.

    Args:
        startup: The command of the image.
        console: The kernel's name of the serial line, such as ttyS0.

    Raises:
        InvalidArgument: It is too long.
    """
    line = " ".join(
        [
            f"console={console}",
            "root=/dev/vda",
            "rw",
            *_first_program(startup),
        ]
    )
    if len(line) > LIMIT:
        raise InvalidArgument(
            f"The command of the image needs a kernel command line of {len(line)} bytes; the limit "
            f"is {LIMIT}. Put the command into a script in the image."
        )
    return line


def _first_program(startup: Startup) -> list[str]:
    shell = f"/bin/sh -c {_printed(_script(startup))}"
    if not startup.is_init:
        return ["panic=-1", *_by_shell(*_LITERALLY, *_MOUNTS, shell, *_POWER_OFF)]
    [program, *arguments] = startup.command
    if arguments or startup.environment or not _PLAIN_PATH.fullmatch(program):
        return _by_shell(*_LITERALLY, f"exec {shell}")
    return [f"init={program}"]


def _by_shell(*steps: str) -> list[str]:
    """Return the shell as the first program. The kernel reads text in double quotes as a word."""
    return ["init=/bin/sh", "--", "-c", f'"{";".join(steps)}"']


def _script(startup: Startup) -> str:
    command = shlex.join(startup.command)
    exports = [f"export {shlex.quote(f'{name}={value}')}" for name, value in startup.environment]
    if startup.is_init:
        return ";".join([*exports, f"exec {command}"])
    directory = f"cd {shlex.quote(startup.directory)}"
    return ";".join([*exports, directory, f"exec {_as_user(startup, command)}"])


def _as_user(startup: Startup, command: str) -> str:
    user, group = startup.user, startup.group
    if not user:
        return command
    if not group and not user.isdecimal():
        return f"su -s /bin/sh {shlex.quote(user)} -c {shlex.quote(command)}"
    groups = "--clear-groups" if user.isdecimal() else "--init-groups"
    ids = f"--reuid={shlex.quote(user)} --regid={shlex.quote(group or user)}"
    return f"setpriv {ids} {groups} -- {command}"


def _printed(text: str) -> str:
    """Return words that the shell replaces by the text, whatever its content."""
    return f"$(printf '{''.join(map(_in_format, text.encode()))}')"


def _in_format(byte: int) -> str:
    """Return a byte in the format of printf (POSIX.1-2024, "File Format Notation")."""
    character = chr(byte)
    if character in "\\%":
        return character * 2
    is_plain = character.isascii() and character.isprintable() and character not in " '\""
    return character if is_plain else f"\\{byte:03o}"
