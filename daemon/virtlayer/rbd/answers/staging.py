# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about unfinished images, until they have their names."""

import os

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.protocol import rbd as messages
from virtlayer.protocol.answering import answer
from virtlayer.protocol.boot_names import digest_in_name
from virtlayer.protocol.calls import Nothing, Purpose
from virtlayer.protocol.layer_names import is_layer_volume
from virtlayer.protocol.memory_files import received_content, received_contents
from virtlayer.protocol.rbd_names import check_new_image
from virtlayer.protocol.records import RECORD_LIMIT
from virtlayer.rbd.answers.answer import Turn
from virtlayer.rbd.answers.stagings import StagedImage, Staging
from virtlayer.rbd.boot_files import BOOT_FILE_LIMIT, store_file
from virtlayer.rbd.making import clone_image, create_image, finish_image, make_trash
from virtlayer.rbd.placing import NewPlace, place_image

_PURPOSES = (Purpose.LAYERS, Purpose.VOLUME, Purpose.BOOT)


async def _stage(turn: Turn, request: messages.Stage) -> messages.Staged:
    if request.purpose not in _PURPOSES:
        raise Internal(f"There is no staging place for {request.purpose} in an RBD pool.")
    claim, stagings = turn.holdings.claims.claim(request.claim), turn.holdings.stagings
    if not stagings.can_delete:
        await turn.cluster.run(make_trash, turn.cluster.images)
        stagings.can_delete = True
    return messages.Staged(stagings.add(request.claim, claim, request.purpose))


async def _create(turn: Turn, request: messages.CreateImage) -> Nothing:
    with turn.holdings.stagings.using(request.staging) as staging:
        if staging.purpose is Purpose.BOOT:
            raise Internal("Only the bytes of a kernel or initrd can be stored there.")
        parent = None if request.parent is None else _parent(staging, request.parent)
        name = staging.add(request.file).name
        images = turn.cluster.images
        if parent is None:
            await turn.cluster.run(create_image, images, name, request.size)
        else:
            # A job places a layer while it makes the next one.
            async with parent.naming:
                await turn.cluster.run(clone_image, images, parent.name, name, request.size)
    return Nothing()


def _parent(staging: Staging, name: str) -> StagedImage:
    image = staging.images.get(name) or staging.placed.get(name)
    if image is not None:
        if not image.is_flushed or staging.purpose is not Purpose.LAYERS:
            raise Internal(f'The image "{name}" is not a finished layer.')
        return image
    if not is_layer_volume(name):
        raise Internal(f'The image "{name}" is not a layer.')
    return StagedImage(name, is_flushed=True)


async def _store(turn: Turn, request: messages.StoreFile) -> Nothing:
    [content] = received_contents(turn.descriptors, 1, BOOT_FILE_LIMIT)
    with turn.holdings.stagings.using(request.staging) as staging:
        if staging.purpose is not Purpose.BOOT or os.fstat(content).st_size == 0:
            raise Internal("The content cannot be stored there.")
        image = staging.add(request.file)
        image.digest = await turn.cluster.run(store_file, turn.cluster.images, image.name, content)
        image.is_flushed = True
    return Nothing()


async def _flush(turn: Turn, request: messages.StagedImage) -> Nothing:
    with turn.holdings.stagings.using(request.staging) as staging:
        image = staging.image(request.file)
        if image.is_flushed:
            return Nothing()
        if turn.holdings.stagings.is_written(image.name):
            raise Internal(f'The image "{request.file}" is still being written.')
        # From now on, no server for it is started.
        image.is_flushed = True
        if staging.purpose is Purpose.VOLUME and not image.was_served:
            # No client has had it open, and it needs no snapshot.
            return Nothing()
        try:
            await turn.cluster.run(
                finish_image,
                turn.cluster.images,
                image.name,
                snapshot=staging.purpose is Purpose.LAYERS,
            )
        except BaseException:
            image.is_flushed = False
            raise
    return Nothing()


async def _place(turn: Turn, request: messages.PlaceImage) -> messages.Placed:
    content = received_content(turn.descriptors, RECORD_LIMIT)
    if (content is None) != (request.record is None):
        raise Internal("A record needs a file, and a file of a record needs its content.")
    with turn.holdings.stagings.using(request.staging) as staging:
        image = staging.image(request.file)
        _check_name(staging, image, request.name)
        record = None if content is None else os.pread(content, RECORD_LIMIT, 0)
        async with image.naming:
            # It may have got a name meanwhile.
            staging.image(request.file)
            new = NewPlace(
                unfinished=image.name,
                name=request.name,
                is_layer=staging.purpose is Purpose.LAYERS,
                record_file=request.record,
                record=record,
            )
            placing = turn.cluster.run(place_image, turn.cluster.images, staging.claim, new)
            placed = await to_completion(placing)
            if placed.ours:
                staging.placed[request.file] = staging.images.pop(request.file)
                image.name = request.name
                turn.holdings.placed.add(staging.claim, placed, request.record)
    return placed


def _check_name(staging: Staging, image: StagedImage, name: str) -> None:
    match staging.purpose:
        case Purpose.LAYERS:
            is_right = is_layer_volume(name)
        case Purpose.BOOT:
            is_right = digest_in_name(name) == image.digest
        case _:
            is_right = not is_layer_volume(name) and digest_in_name(name) is None
    check_new_image(name)
    if not (image.is_flushed and is_right):
        raise Internal(f'The image cannot be called "{name}", or is not finished.')


ANSWERS = (
    answer(messages.STAGE, _stage),
    answer(messages.CREATE_IMAGE, _create),
    answer(messages.STORE_FILE, _store, takes_descriptors=True),
    answer(messages.FLUSH_IMAGE, _flush),
    answer(messages.PLACE_IMAGE, _place, takes_descriptors=True),
)
