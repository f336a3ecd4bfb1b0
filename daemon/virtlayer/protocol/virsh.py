# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands of virsh in messages, for users to run as they are written."""

import shlex


def virsh(uri: str, *arguments: str) -> str:
    """A command line of virsh.

    Args:
        uri: The libvirt connection of the service. That of the user's shell may be another one.
        arguments: The command and its arguments.
    """
    return shlex.join(["virsh", "--connect", uri, *arguments])
