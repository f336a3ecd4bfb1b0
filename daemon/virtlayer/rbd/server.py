# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serves an image over NBD: a qemu-storage-daemon for each image.

It ends with this process. It reads the key from a pipe when it starts, so the key is in none of its
arguments or variables, in no file, and, after that, in no descriptor.
"""

import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack

from virtlayer import programs, storage_daemon
from virtlayer.errors import Internal
from virtlayer.programs import RunningProgram
from virtlayer.protocol.memory_files import new_memory_file
from virtlayer.rbd.cluster import Cluster

_NODE = "image"
_KEY = "key"


@contextlib.asynccontextmanager
async def serving(
    cluster: Cluster, image: str, listening: int, *, snapshot: str | None, writable: bool
) -> AsyncIterator[RunningProgram]:
    """Serve an image for as long as the context lasts.

    Args:
        cluster: The pool.
        image: The name of the image.
        listening: A listening socket; it stays the caller's.
        snapshot: The snapshot of the image that is served; None for the image itself.
        writable: Whether clients may write.
    """
    with ExitStack() as passed:
        options = passed.enter_context(contextlib.closing(new_memory_file()))
        os.write(options, _configuration(cluster).encode())
        descriptors = [listening, options]
        key: Sequence[str] = ()
        if cluster.key is not None:
            pipe = passed.enter_context(_filled_pipe(cluster.key))
            descriptors.append(pipe)
            key = ("--object", _secret(pipe))
        block_device = _block_device(cluster, image, options, snapshot, writable=writable)
        export = {"type": "nbd", "id": "export", "node-name": _NODE, "name": ""}
        async with programs.running(
            [
                *("qemu-storage-daemon", *key, "--blockdev", json.dumps(block_device)),
                *("--nbd-server", f"addr.type=fd,addr.str={listening}"),
                *("--export", json.dumps({**export, "writable": writable})),
            ],
            pass_fds=descriptors,
            env=storage_daemon.ENVIRONMENT,
        ) as program:
            # Only the program has them now.
            passed.close()
            yield program


def listening_socket(descriptors: Sequence[int]) -> int:
    """The listening Unix socket that came with a request.

    Raises:
        Internal: Something else came.
    """
    if len(descriptors) == 1 and stat.S_ISSOCK(os.fstat(descriptors[0]).st_mode):
        with socket.socket(fileno=os.dup(descriptors[0])) as passed:
            kind = passed.family, passed.type
            listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if kind == (socket.AF_UNIX, socket.SOCK_STREAM) and listens:
            return descriptors[0]
    raise Internal("The server of an image needs one listening socket.")


def _block_device(
    cluster: Cluster, image: str, options: int, snapshot: str | None, *, writable: bool
) -> dict[str, object]:
    """The image, as BlockdevOptionsRbd in QEMU's QMP reference."""
    with_user = {"user": cluster.request.user} if cluster.request.user is not None else {}
    with_key = {"key-secret": _KEY} if cluster.key is not None else {}
    with_snapshot = {} if snapshot is None else {"snapshot": snapshot}
    return {
        "driver": "rbd",
        "node-name": _NODE,
        "pool": cluster.pool,
        "image": image,
        "conf": f"/dev/fd/{options}",
        "read-only": not writable,
        "discard": "unmap",
        **with_user,
        **with_key,
        **with_snapshot,
    }


def _configuration(cluster: Cluster) -> str:
    """The settings of its client; the monitors are those that this process has connected to."""
    names = ("mon_host", "auth_client_required", "rados_osd_op_timeout", "rados_mon_op_timeout")
    lines = [f"{name} = {cluster.connection.conf_get(name)}" for name in names]
    # By default, every write before the first flush waits for the OSDs; ours is at the end.
    lines.append("rbd_cache_writethrough_until_flush = false")
    return "\n".join(("[global]", *lines, "log_file =", "admin_socket =", ""))


def _secret(pipe: int) -> str:
    secret = {"qom-type": "secret", "id": _KEY, "file": f"/dev/fd/{pipe}", "format": "base64"}
    return json.dumps(secret)


@contextlib.contextmanager
def _filled_pipe(text: str) -> Iterator[int]:
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, text.encode())
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)
