# SPDX-License-Identifier: LGPL-2.1-or-later
"""Answers about programs; the other end is ``service.keeper.programs``."""

import os
from contextlib import AsyncExitStack

from virtlayer.cancellation import to_completion
from virtlayer.errors import Internal
from virtlayer.keeper.answers.answer import Turn, answer
from virtlayer.keeper.answers.holdings import Program
from virtlayer.keeper.answers.staging import flush_staged
from virtlayer.keeper.programs import Backing, creating_overlay, running
from virtlayer.programs import RunningProgram
from virtlayer.protocol import calls
from virtlayer.protocol.programs import STAGED_OVERLAY, Ended, Kind, StartProgram


async def _start(turn: Turn, request: StartProgram) -> calls.Started:
    staging = None if request.staging is None else turn.holdings.staging(request.staging)
    with turn.holdings.starting_program(staging):
        place = None
        if staging is not None:
            reads_layers = request.kind is Kind.STORAGE_DAEMON
            place = await staging.place.place_for_program(reads_layers=reads_layers)
        async with AsyncExitStack() as life:
            program = await life.enter_async_context(running(request, turn.descriptors, place))
            turn.reply_descriptors.append(os.pidfd_open(program.pid))
            number = turn.holdings.add_program(Program(program, life.pop_all()), staging)
    return calls.Started(number, program.name)


async def _create_overlay(turn: Turn, request: calls.CreateOverlay) -> Ended:
    staging = turn.holdings.staging(request.staging)
    if request.file != STAGED_OVERLAY or request.backing is None:
        raise Internal("Such an overlay cannot be created in a directory.")
    # As with any program: it is counted, delays flushing of the file, and ends with the directory.
    with turn.holdings.starting_program(staging):
        place = await staging.place.place_for_program(reads_layers=False)
        backing_format = await staging.place.backing_format(request.backing)
        backing = Backing(request.backing, backing_format)
        async with creating_overlay(request.size, backing, place) as program:
            await program.wait()
    ended = _ended(program)
    if ended.status == 0:
        await flush_staged(staging, STAGED_OVERLAY)
    return ended


async def _wait(turn: Turn, request: calls.KnownProgram) -> Ended:
    program = turn.holdings.program(request.program).running
    await program.wait()
    return _ended(program)


async def _end(turn: Turn, request: calls.EndProgram) -> Ended:
    program = turn.holdings.program(request.program).running
    if request.kill:
        await to_completion(turn.holdings.end_program(request.program))
    else:
        program.terminate()
    return _ended(program)


def _ended(program: RunningProgram) -> Ended:
    return Ended(program.returncode or 0, program.stderr_tail)


ANSWERS = (
    answer(calls.CREATE_OVERLAY, _create_overlay),
    answer(calls.START_PROGRAM, _start, takes_descriptors=True),
    answer(calls.WAIT_PROGRAM, _wait),
    answer(calls.END_PROGRAM, _end),
)
