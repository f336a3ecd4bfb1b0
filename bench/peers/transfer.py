# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a pull of one large file waits for: skopeo's proxy alone, or a disk that gets the bytes.

Both are needed, and they can go on at the same time; so the longer one counts.
"""

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.commands import run, stopwatch
from bench.inputs import Image, Inputs
from bench.result import Finished

_PACKET = 64 * 1024
_PIECE = 1024 * 1024


class TransferAndWrite:
    """The contestant.

    Args:
        inputs: The images.
    """

    title = "skopeo's proxy alone, or dd with fsync"

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Throw an image's blobs away, and then write them."""
        with stopwatch() as transfer, _Proxy() as proxy:
            proxy.open_image(self._inputs.reference(image))
            for layer in image.layers:
                proxy.discard(layer.digest, layer.size)
        with stopwatch() as writing:
            for blob in self._inputs.blobs(image):
                copy = directory / blob.parent.name
                run("dd", f"if={blob}", f"of={copy}", "bs=1M", "conv=fsync")
        parts = {"transfer": transfer.seconds, "write": writing.seconds}
        yield Finished(max(parts.values()), 0, None, parts)


class _Proxy:
    """A running ``skopeo experimental-image-proxy``, and a client of it as small as can be."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = ["skopeo", "experimental-image-proxy", f"--sockfd={theirs.fileno()}"]
            self._process = subprocess.Popen(
                [*command, "--tls-verify=false"], pass_fds=[theirs.fileno()]
            )
        self._image: object = None

    def __enter__(self) -> "_Proxy":
        self._ask("Initialize")
        return self

    def __exit__(self, *_: object) -> None:
        # It ends with its connection.
        self._connection.close()
        self._process.wait()

    def open_image(self, reference: str) -> None:
        """Open the image that all blobs are of."""
        self._image = self._ask("OpenImage", reference)[0]["value"]

    def discard(self, digest: str, size: int) -> None:
        """Have a blob sent, and throw it away without copying it."""
        reply, [pipe] = self._ask("GetBlob", self._image, digest, size)
        reader = threading.Thread(target=_discard, args=(pipe,))
        reader.start()
        # The proxy checks the digest, and closes the pipe.
        self._ask("FinishPipe", reply["pipeid"])
        reader.join()

    def _ask(self, method: str, *arguments: object) -> tuple[Any, list[int]]:
        self._connection.send(json.dumps({"method": method, "args": arguments}).encode())
        packet, descriptors, _, _ = socket.recv_fds(self._connection, _PACKET, 1)
        reply = json.loads(packet)
        assert reply["success"], f"{method}: {reply['error']}"
        return reply, descriptors


def _discard(pipe: int) -> None:
    with open(pipe, "rb") as stream, open(os.devnull, "wb") as nothing:  # noqa: PTH123 -- a descriptor
        while os.splice(stream.fileno(), nothing.fileno(), _PIECE):
            pass
