# SPDX-License-Identifier: LGPL-2.1-or-later
"""The connection to the cluster of the pool."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from virtlayer.cancellation import settled
from virtlayer.errors import PoolUnavailable, PoolUnsupported
from virtlayer.protocol.rbd import Open
from virtlayer.rbd.binding import rados, rbd
from virtlayer.rbd.connecting import OPERATION_SECONDS, connected
from virtlayer.rbd.failures import no_answer, refused_by_cluster
from virtlayer.rbd.removal import PROGRESS

_THREADS = 16
"""Calls of librados and librbd at a time; all of them block."""
_STALLED_SECONDS = OPERATION_SECONDS + 10.0
"""How long an operation of ours may be without any progress; librados gives up earlier."""
_PROBE = "rbd_directory"
"""The object with the list of images."""


class Cluster:
    """An open pool.

    Attributes:
        pool: Its name.
        fsid: The id of the cluster.
        pool_id: The number of the pool in the cluster.
        connection: The connection, of librados.
        images: The pool's I/O context, of librados, for RBD images.
        request: What it was opened with.
        key: The user's key, in base64; None if the cluster uses no cephx.
    """

    def __init__(self, connection: Any, request: Open, key: str | None) -> None:
        self.connection = connection
        self.request = request
        self.key = key
        self.pool = request.pool
        self.images = connection.open_ioctx(request.pool)
        # When the pool is full, writes fail instead of waiting.
        self.images.set_osdmap_full_try()
        self.pool_id: int = self.images.get_pool_id()
        self.fsid: str = connection.get_fsid()
        self._threads = ThreadPoolExecutor(_THREADS, "cluster")

    @classmethod
    def opened(cls, request: Open, key: str | None) -> Self:
        """Connect to the cluster and open the pool; blocks, for less than a minute.

        Raises:
            PoolUnavailable: The cluster cannot be reached, refuses the key, or has no such pool.
        """
        connection = connected(request, key)
        try:
            cluster = cls(connection, request, key)
            cluster.check()
        except rados.ObjectNotFound as error:
            connection.shutdown()
            raise PoolUnavailable(
                f'The cluster has no pool "{request.pool}". "ceph osd pool ls" lists those that it '
                "has."
            ) from error
        except (rados.Error, rbd.Error) as error:
            raise refused_by_cluster(error, request.pool) from error
        return cluster

    def check(self) -> None:
        """Check that the pool's user may read it, and that an OSD answers; blocks.

        Raises:
            rados.Error: One of these is not so.
        """
        with rados.ReadOpCtx() as reading:
            # What is returned must exist while the request is made.
            _asked = self.images.get_omap_vals(reading, "", "", 1)
            # Before the first image, there is no such object.
            with contextlib.suppress(rados.ObjectNotFound):
                self.images.operate_read_op(reading, _PROBE)

    async def run[**P, T](
        self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Call a function that blocks, in a thread.

        If cancelled, it waits for the end of the function, but no longer than for its result.

        Args:
            function: The function. Errors of Ceph in it become those for the user.
            arguments: Its arguments.
            named: Those with names.

        Raises:
            NoAnswer: The cluster does not answer.
            VirtlayerError: The cluster refuses it, or the function raises it.
        """
        loop = asyncio.get_running_loop()
        calling = loop.run_in_executor(
            self._threads, functools.partial(function, *arguments, **named)
        )
        # It can fail after a cancellation, when nobody asks any longer.
        calling.add_done_callback(_seen)
        begun = time.monotonic()
        try:
            while True:
                left = max(begun, PROGRESS.last) + _STALLED_SECONDS - time.monotonic()
                if left <= 0:
                    raise no_answer(self.pool)
                await asyncio.wait([calling], timeout=left)
                if calling.done():
                    return calling.result()
        except (rados.Error, rbd.Error) as error:
            raise refused_by_cluster(error, self.pool) from error
        except UnicodeDecodeError as error:
            # librbd's binding lists all names or none.
            raise PoolUnsupported(
                f'The pool "{self.pool}" has an image or a snapshot whose name is not UTF-8. Find '
                f'it with "rbd ls -l {self.pool}", and give it another name with "rbd rename" or '
                '"rbd snap rename".'
            ) from error
        except asyncio.CancelledError:
            left = begun + _STALLED_SECONDS - time.monotonic()
            waiting = asyncio.ensure_future(asyncio.wait([calling], timeout=max(left, 0)))
            await settled(waiting)
            raise


def _seen(call: asyncio.Future[Any]) -> None:
    """Retrieve an error, so that asyncio does not report it as forgotten."""
    if not call.cancelled():
        call.exception()
