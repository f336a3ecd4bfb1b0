# SPDX-License-Identifier: LGPL-2.1-or-later
"""The last part of the demo: an image becomes a machine that answers, with the times."""

import http.client
import socket
import time
from collections.abc import Mapping

from tests.support.boot_images import debian_files
from tests.support.images import Content, image, layer

from demo.showing import BIN, headline, show

_PATIENCE = 120.0
"""Seconds until a machine must have answered, also where it is emulated."""


def kernel_image(platform: str) -> Content:
    """An image that has nothing but Debian's kernel for machines, and its modules."""
    return image([layer(*debian_files())], platform=platform)


def show_machines(kernel: str, environment: Mapping[str, str]) -> None:
    """Run a command in a machine, then a web server in another one.

    Args:
        kernel: The source of the image with the kernel.
        environment: Of the commands.
    """
    virtlayer = (BIN / "virtlayer", "--user")
    headline("A kernel for machines: Debian's, in an image of its own")
    show(*virtlayer, "pull", "--tls-verify=false", kernel, env=environment)

    headline("A machine: the image, that kernel, and a command with its exit status")
    run = (*virtlayer, "run", "--kernel", "kernel:1")
    command = ("demo:1", "sh", "-c", "uname -sr; cat /etc/issue; exit 7")
    began = time.monotonic()
    show(*run, "--rm", *command, env=environment, status=7)
    print(f"exit status 7, after {time.monotonic() - began:.1f} s")

    headline("A machine that answers: a web server at a port of this host")
    port = _free_port()
    address = f"127.0.0.1:{port}"
    serve = ("demo:1", "busybox", "httpd", "-f", "-h", "/etc")
    began = time.monotonic()
    show(*run, "--detach", "--name=web", f"--publish={address}:80", *serve, env=environment)
    print(f"started after {time.monotonic() - began:.1f} s")
    answer = _answer(address, "/issue")
    print(f"http://{address}/issue answered after {time.monotonic() - began:.1f} s: {answer}")
    show(*virtlayer, "ps", env=environment)
    show(*virtlayer, "rm", "--force", "web", env=environment)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _answer(address: str, path: str) -> str:
    """Ask until there is an answer: a machine that has started may not listen yet."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().read().decode().strip()
        except (http.client.HTTPException, OSError):
            if time.monotonic() > deadline:
                raise SystemExit("The machine does not answer.") from None
            time.sleep(0.1)
