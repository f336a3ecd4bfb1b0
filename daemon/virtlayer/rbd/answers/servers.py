# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about servers of images."""

import os
from contextlib import AsyncExitStack

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.calls import Purpose
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.programs import Ended
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.answers.stagings import Server, Staging
from virtlayer.rbd.failures import failure_in_words
from virtlayer.rbd.names import LAYER_SNAPSHOT
from virtlayer.rbd.server import listening_socket, serving


async def _serve(turn: Turn, request: messages.ServeImage) -> messages.Serving:
    stagings = turn.holdings.stagings
    listening = listening_socket(turn.descriptors)
    with stagings.using(request.staging) as staging:
        image, snapshot = _served(staging, request)
        # From here on, the image cannot be finished.
        with stagings.starting_server(image, writable=request.writable):
            async with AsyncExitStack() as life:
                server = serving(
                    turn.cluster, image, listening, snapshot=snapshot, writable=request.writable
                )
                running = await life.enter_async_context(server)
                turn.reply_descriptors.append(os.pidfd_open(running.pid))
                started = Server(running, life.pop_all(), request.staging, image, request.writable)
            return messages.Serving(stagings.add_server(started))


def _served(staging: Staging, request: messages.ServeImage) -> tuple[str, str | None]:
    """The name of the image that is served, and its snapshot, if that is served."""
    if request.image in staging.images:
        image = staging.images[request.image]
        if request.writable and (image.is_flushed or staging.purpose is Purpose.BOOT):
            raise Internal(f'The image "{request.image}" is finished, or has no server.')
        image.was_served |= request.writable
        return image.name, None
    if request.writable or not is_layer_volume(request.image):
        raise Internal(f'The image "{request.image}" cannot be served like this.')
    return request.image, LAYER_SNAPSHOT


async def _wait(turn: Turn, request: messages.Serving) -> Ended:
    server = turn.holdings.stagings.server(request.server)
    await server.running.wait()
    ended = _ended(server)
    failure = server.failure or failure_in_words(ended.stderr, turn.cluster.pool)
    if failure is not None and ended.status != 0:
        raise failure
    return ended


async def _end(turn: Turn, request: messages.EndServer) -> Ended:
    server = turn.holdings.stagings.server(request.server)
    if request.kill:
        await to_completion(turn.holdings.stagings.end_server(request.server))
    else:
        server.running.terminate()
    return _ended(server)


def _ended(server: Server) -> Ended:
    return Ended(server.running.returncode or 0, server.running.stderr_tail)


ANSWERS = (
    answer(messages.SERVE_IMAGE, _serve, takes_descriptors=True),
    answer(messages.WAIT_SERVER, _wait),
    answer(messages.END_SERVER, _end),
)
